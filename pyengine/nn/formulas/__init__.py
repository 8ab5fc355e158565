"""What torch.nn.functional holds beside the operations: a family of formulas in each file."""
