"""What torch.nn.functional holds beside the operations: activations, losses, embeddings, dropouts; one family a file."""
