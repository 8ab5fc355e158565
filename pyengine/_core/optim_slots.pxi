# What an optimizer step walks, kept from one step to the next: a parameter and its states are checked again only where
# one of them is another tensor, or has moved. Gradients come anew with each step and are never held.

cdef Tensor own_state(dict entry, Tensor param, str name):
    """entry[name], made of zeros where it is not there yet."""
    found = entry.get(name)
    cdef Tensor made
    if found is None:
        made = empty_like(&param.view, PE_FLOAT32)
        memset(made.view.data, 0, made.storage.nbytes)
        entry[name] = found = made
    return found


cdef PyObject *entry_of(dict state, param) except NULL:
    """state[param], made where it is not there yet; borrowed."""
    cdef PyObject *found = PyDict_GetItemWithError(state, param)
    if found == NULL:
        state[param] = {}
        found = PyDict_GetItemWithError(state, param)
    if not isinstance(<object>found, dict):
        raise TypeError(f"the state of a parameter is a dict, not {type(<object>found).__name__}")
    return found


cdef struct Seen:
    PyObject *param
    PyObject *state[PE_OPTIM_STATES]


@cython.final
cdef class Slots:
    """The slots of all calls of one step, in their order. begin() goes back to the first, and what the step before
    prepared is used again: its tensors are known by their identity, and kept alive for that."""
    cdef pe_optim_slot *slots
    cdef Seen *seen
    cdef list held              # for each slot: what `seen` points to
    cdef int room, count, place  # slots that there is memory for, that were filled; the next one to be taken
    cdef uint64_t moves         # tensor_moves when they were filled
    cdef bint busy              # in use by a call; another thread's prepares its own

    def __dealloc__(self):
        pe_free(context, self.slots)
        pe_free(context, self.seen)

    def __reduce__(self):
        return Slots, ()  # an optimizer's copy prepares its own

    def begin(self):
        """The next call is the first of a step."""
        self.place = 0

    cdef int make_room(self, int wanted) except -1:
        if wanted <= self.room:
            return 0
        cdef int room = max(wanted, 2 * self.room)
        cdef pe_optim_slot *slots = <pe_optim_slot *>pe_alloc(context, room * sizeof(pe_optim_slot))
        cdef Seen *seen = <Seen *>pe_alloc(context, room * sizeof(Seen))
        if slots == NULL or seen == NULL:
            pe_free(context, slots)
            pe_free(context, seen)
            raise MemoryError(f"no memory for {wanted} parameters")
        if self.count:
            memcpy(slots, self.slots, self.count * sizeof(pe_optim_slot))
            memcpy(seen, self.seen, self.count * sizeof(Seen))
        pe_free(context, self.slots)
        pe_free(context, self.seen)
        self.slots, self.seen, self.room = slots, seen, room
        return 0

    cdef pe_optim_slot *take(self, str rule, params, dict state, tuple names, list gradients) except? NULL:
        """Slots for params. gradients: gets theirs, which must live as long as the slots are used."""
        cdef int first = self.place, i, n = len(params)
        cdef list entries = (<Counted>params).entries if type(params) is Counted else None
        cdef PyObject *entry = NULL
        cdef Tensor p, g
        if self.moves != tensor_moves or self.held is None:
            self.count, self.held, self.moves, first = 0, [], tensor_moves, 0
        self.make_room(first + n)
        for i in range(n):
            p = <object>PyList_GET_ITEM(params, i)
            if p is None or p.grad_ is None:
                raise ValueError(f"{rule}: parameter {i} has no gradient")
            if names:
                entry = PyList_GET_ITEM(entries, i) if entries is not None else entry_of(state, p)
            if not self.stands(first + i, p, entry, names):
                self.fill(first + i, rule, p, entry, names, i)
            g = laid_like(p.grad_, p, rule, "gradient", i)
            self.slots[first + i].grad = <float *>g.view.data
            gradients.append(g)
        self.place = first + n
        return self.slots + first

    cdef bint stands(self, int place, Tensor p, PyObject *entry, tuple names) except -1:
        """The slot is right but for the gradient: all its tensors are those of the step before."""
        cdef Seen *seen = self.seen + place
        cdef int j
        if place >= self.count or seen.param != <PyObject *>p:
            return False
        for j in range(PE_OPTIM_STATES):
            if j == len(names):
                return seen.state[j] == NULL
            if seen.state[j] != PyDict_GetItemWithError(<object>entry, <object>PyTuple_GET_ITEM(names, j)):
                return False
        return True

    cdef int fill(self, int place, str rule, Tensor p, PyObject *entry, tuple names, int i) except -1:
        cdef pe_optim_slot *slot = self.slots + place
        cdef Seen *seen = self.seen + place
        cdef list tensors = [p]
        cdef Tensor s
        cdef int j
        memset(seen, 0, sizeof(Seen))  # should a check fail, the slot does not stand
        dense_floats(p, rule, i)
        for j in range(len(names)):
            s = own_state(<dict>entry, p, <str?>names[j])
            s = (<dict>entry)[<str?>names[j]] = laid_like(s, p, rule, <str?>names[j], i)
            tensors.append(s)
            slot.state[j], seen.state[j] = <float *>s.view.data, <PyObject *>s
        slot.param, slot.n, seen.param = <float *>p.view.data, numel(&p.view), <PyObject *>p
        if place < len(self.held):
            self.held[place] = tensors
        else:
            self.held.append(tensors)
            self.count = place + 1
        return 0

    cdef void written(self, pe_optim_slot *first, int n) noexcept:
        """Counts the write to every parameter and state of n slots."""
        cdef Seen *seen = self.seen + (first - self.slots)
        cdef int i, j
        for i in range(n):
            (<Tensor>seen[i].param).storage.version += 1
            for j in range(PE_OPTIM_STATES):
                if seen[i].state[j] != NULL:
                    (<Tensor>seen[i].state[j]).storage.version += 1
