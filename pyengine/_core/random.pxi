# Random numbers: counters, not state machines. Element i of a draw depends on (seed, offset + i) alone.

@cython.final
cdef class Generator:
    """A stream of random numbers: a seed, and how many were drawn."""
    cdef readonly uint64_t seed
    cdef public uint64_t offset

    def __init__(self, seed=0):
        self.manual_seed(seed)

    def manual_seed(self, seed):
        """Starts the stream of this seed from its beginning. Returns self."""
        self.seed = <uint64_t>(int(seed) & 0xFFFFFFFFFFFFFFFF)
        self.offset = 0
        return self

    def get_state(self):
        """(seed, offset): all there is."""
        return self.seed, self.offset

    def set_state(self, state):
        """Goes back to a state from get_state()."""
        self.seed, self.offset = state

    def __repr__(self):
        return f"Generator(seed={self.seed}, offset={self.offset})"


default_generator = Generator(0)


cdef uint64_t draw(Generator generator, int64_t count):
    """Reserves `count` numbers; the first one's offset."""
    cdef uint64_t first = generator.offset
    generator.offset += <uint64_t>count
    return first


def random_(Tensor x, str kind, float a, float b, Generator generator=None):
    """Fills x: "uniform" in [a, b) or "normal" with mean a and standard deviation b."""
    cdef pe_random_args args
    cdef pe_error err
    cdef pe_status status
    cdef Generator source = default_generator if generator is None else generator
    float_only(x, kind + "_", "the tensor")
    writable(x, kind + "_")
    cdef Tensor target = x if is_row_major(&x.view) else new_row_major(PE_FLOAT32, x.shape, kind)
    args.kind = PE_RANDOM_UNIFORM if kind == "uniform" else PE_RANDOM_NORMAL
    args.out, args.a, args.b = &target.view, a, b
    args.seed, args.offset = source.seed, draw(source, numel(&x.view))
    with nogil:
        status = pe_random(context, &args, &err)
    check(status, &err)
    if target is not x:
        copy_into(&target.view, &x.view)
    x.storage.version += 1
    return x


def dropout(input, float p, Generator generator=None, state=None):
    """x / (1-p) where a draw is at least p, else 0; recorded. state: (seed, offset) of an earlier draw to repeat."""
    cdef Tensor x = need(input, "dropout")
    cdef pe_dropout_args args
    cdef pe_error err
    cdef pe_status status
    cdef Generator source = default_generator if generator is None else generator
    float_only(x, "dropout", "input")
    if not 0.0 <= p < 1.0:
        raise ValueError(f"dropout: p must be at least 0 and below 1, got {p}")
    if state is None:
        state = (source.seed, draw(source, numel(&x.view)))
    cdef Tensor out = empty_like(&x.view, PE_FLOAT32)
    args.in_, args.out, args.p = &x.view, &out.view, p
    args.seed, args.offset = state
    with nogil:
        status = pe_dropout(context, &args, &err)
    check(status, &err)
    return record(out, "dropout", (x,), (), (p, state))
