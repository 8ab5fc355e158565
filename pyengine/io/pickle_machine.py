"""A reader of pickles that runs no code: a closed list of opcodes, and of names that its caller gives a meaning.

Pickle is a program for a stack machine. Here the machine knows the opcodes that plain data needs, and nothing is ever
imported: a name stands for a function of the caller's table, or the file is refused.
"""

import struct

MOST_OPCODES = 4_000_000  # each may cost 64 bytes of memory: ten thousand tensors need a tenth of it
LONGEST_NAME = 256
LONGEST_NUMBER_BYTES = 16

_U8, _U16, _U32, _U64, _I32 = (struct.Struct(form) for form in ("<B", "<H", "<I", "<Q", "<i"))
_FLOAT = struct.Struct(">d")


class Refused(ValueError):
    """What is wrong with a pickle, and where."""


class Global:
    """A name of the caller's table, and what it does with its arguments (None: it may only be mentioned)."""

    __slots__ = ("call", "name")

    def __init__(self, name, call):
        self.name, self.call = name, call


class Bytes:
    """Bytes read in order; `position` counts from where they begin in the file."""

    def __init__(self, content, position=0):
        self.content, self.at, self.start = memoryview(content), 0, position

    @property
    def position(self):
        return self.start + self.at

    def view(self, count):
        """The next count bytes where they are. Errors: Refused where the file ends before."""
        left = len(self.content) - self.at
        if count > left:
            raise Refused(f"{count} bytes are announced, {left} are left (truncated?)")
        self.at += count
        return self.content[self.at - count : self.at]

    def take(self, count):
        """A copy of the next count bytes."""
        return bytes(self.view(count))

    def line(self):
        """The text up to the next end of line, of at most LONGEST_NAME bytes."""
        head = bytes(self.content[self.at : self.at + LONGEST_NAME])
        end = head.find(b"\n")
        if end < 0:
            raise Refused(f"no name of at most {LONGEST_NAME} bytes")
        self.at += end + 1
        return text(head[:end])


def text(content):
    """content as UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Refused("a text is no UTF-8") from None


class Machine:
    """One pickle, read from `source`.

    Arguments: names, "module.name" -> function of the arguments, or None; persistent, a function of the id of what is
    stored outside of the pickle.
    """

    def __init__(self, source, names, persistent):
        self.source, self.names, self.persistent = source, names, persistent
        self.stack, self.marks, self.memo = [], [], {}

    def run(self):
        """The object. Errors: Refused, which names opcode and place."""
        source = self.source
        known = {code: getattr(self, name, None) for code, name in OPCODES.items()}
        for _ in range(MOST_OPCODES):
            place, code = source.at, None
            try:
                code = source.view(1)[0]
                if code not in known:
                    raise Refused(f"{_spelled(code)} is no part of a state_dict, and is not carried out")
                if code == STOP:
                    return self._result()
                known[code]()
            except Refused as error:
                opcode = "the end" if code is None else OPCODES.get(code, f"{code:#04x}")
                raise Refused(f"opcode {opcode} at byte {source.start + place}: {error}") from None
        raise Refused(f"more than {MOST_OPCODES:,} opcodes")

    def _result(self):
        if len(self.stack) != 1 or self.marks:
            raise Refused(f"{len(self.stack)} objects and {len(self.marks)} marks are left, one object should be")
        return self.stack[0]

    # ---- the stack ----

    def pop(self):
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise Refused("nothing is on the stack")
        return self.stack.pop()

    def top(self, kind, what):
        if len(self.stack) <= (self.marks[-1] if self.marks else 0) or not isinstance(self.stack[-1], kind):
            raise Refused(f"no {what} is on the stack")
        return self.stack[-1]

    def above_mark(self):
        if not self.marks:
            raise Refused("no mark is on the stack")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def number(self, form):
        return form.unpack(self.source.view(form.size))[0]

    def recall(self, index):
        if index not in self.memo:
            raise Refused(f"nothing was remembered as number {index}")
        self.stack.append(self.memo[index])

    def remember(self, index):
        self.memo[index] = self.top(object, "object")

    # ---- numbers, texts, constants ----

    def PROTO(self):
        version = self.number(_U8)
        if not 2 <= version <= 5:
            raise Refused(f"protocol {version}; 2 to 5 are read")

    def FRAME(self):
        size = self.number(_U64)  # how much a reader may fetch at once: nothing depends on it
        if size >= 1 << 63:
            raise Refused(f"a frame of {size} bytes")

    def NONE(self):
        self.stack.append(None)

    def NEWTRUE(self):
        self.stack.append(True)

    def NEWFALSE(self):
        self.stack.append(False)

    def BININT(self):
        self.stack.append(self.number(_I32))

    def BININT1(self):
        self.stack.append(self.number(_U8))

    def BININT2(self):
        self.stack.append(self.number(_U16))

    def LONG1(self):
        size = self.number(_U8)
        if size > LONGEST_NUMBER_BYTES:
            raise Refused(f"a number of {size} bytes")
        self.stack.append(int.from_bytes(self.source.take(size), "little", signed=True))

    def BINFLOAT(self):
        self.stack.append(self.number(_FLOAT))

    def SHORT_BINUNICODE(self):
        self.stack.append(text(self.source.take(self.number(_U8))))

    def BINUNICODE(self):
        self.stack.append(text(self.source.take(self.number(_U32))))

    SHORT_BINSTRING = SHORT_BINUNICODE  # Python 2's

    def BINSTRING(self):
        self.stack.append(text(self.source.take(self.number(_I32) & 0xFFFFFFFF)))

    # ---- containers ----

    def MARK(self):
        self.marks.append(len(self.stack))

    def EMPTY_TUPLE(self):
        self.stack.append(())

    def EMPTY_LIST(self):
        self.stack.append([])

    def EMPTY_DICT(self):
        self.stack.append({})

    def TUPLE(self):
        self.stack.append(tuple(self.above_mark()))

    def TUPLE1(self):
        self.stack.append((self.pop(),))

    def TUPLE2(self):
        second, first = self.pop(), self.pop()
        self.stack.append((first, second))

    def TUPLE3(self):
        third, second, first = self.pop(), self.pop(), self.pop()
        self.stack.append((first, second, third))

    def APPEND(self):
        item = self.pop()
        self.top(list, "list").append(item)

    def APPENDS(self):
        items = self.above_mark()
        self.top(list, "list").extend(items)

    def SETITEM(self):
        value, key = self.pop(), self.pop()
        set_item(self.top(dict, "dict"), key, value)

    def SETITEMS(self):
        items = self.above_mark()
        target = self.top(dict, "dict")
        if len(items) % 2:
            raise Refused("a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            set_item(target, key, value)

    # ---- what was read before ----

    def BINPUT(self):
        self.remember(self.number(_U8))

    def LONG_BINPUT(self):
        self.remember(self.number(_U32))

    def MEMOIZE(self):
        self.remember(len(self.memo))

    def BINGET(self):
        self.recall(self.number(_U8))

    def LONG_BINGET(self):
        self.recall(self.number(_U32))

    # ---- names and what they do ----

    def GLOBAL(self):
        self._name(self.source.line(), self.source.line())

    def STACK_GLOBAL(self):
        name, module = self.pop(), self.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused("a name that is no text")
        self._name(module[:LONGEST_NAME], name[:LONGEST_NAME])

    def _name(self, module, name):
        full = f"{module}.{name}"
        if full not in self.names:
            raise Refused(f"{full!r} is no part of a state_dict, and is not called")
        self.stack.append(Global(full, self.names[full]))

    def REDUCE(self):
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or function.call is None or not isinstance(arguments, tuple):
            raise Refused("only names that can be called are called, with a tuple")
        try:
            self.stack.append(function.call(*arguments))
        except TypeError:
            raise Refused(f"{function.name} does not take these {len(arguments)} arguments") from None

    def BUILD(self):
        state = self.pop()
        self.top(dict, "dict")
        if not isinstance(state, dict):
            raise Refused("a dict has a dict of attributes")
        # a state_dict's only attribute is _metadata, versions of layers: nothing here asks for them

    def BINPERSID(self):
        self.stack.append(self.persistent(self.pop()))


def set_item(target, key, value):
    """target[key] = value for the keys that state_dicts have: texts, and whole numbers of 64 bits."""
    # bigger ones could be chosen to collide
    if not isinstance(key, str) and not (type(key) is int and -(1 << 63) <= key < 1 << 63):
        raise Refused(f"a key must be a text or a number of 64 bits, got {type(key).__name__}")
    target[key] = value


STOP = 0x2E
OPCODES = {
    0x80: "PROTO", 0x95: "FRAME", STOP: "STOP", 0x4E: "NONE", 0x88: "NEWTRUE", 0x89: "NEWFALSE",
    0x4A: "BININT", 0x4B: "BININT1", 0x4D: "BININT2", 0x8A: "LONG1", 0x47: "BINFLOAT",
    0x8C: "SHORT_BINUNICODE", 0x58: "BINUNICODE", 0x55: "SHORT_BINSTRING", 0x54: "BINSTRING",
    0x28: "MARK", 0x29: "EMPTY_TUPLE", 0x5D: "EMPTY_LIST", 0x7D: "EMPTY_DICT",
    0x74: "TUPLE", 0x85: "TUPLE1", 0x86: "TUPLE2", 0x87: "TUPLE3",
    0x61: "APPEND", 0x65: "APPENDS", 0x73: "SETITEM", 0x75: "SETITEMS",
    0x71: "BINPUT", 0x72: "LONG_BINPUT", 0x94: "MEMOIZE", 0x68: "BINGET", 0x6A: "LONG_BINGET",
    0x63: "GLOBAL", 0x93: "STACK_GLOBAL", 0x52: "REDUCE", 0x62: "BUILD", 0x51: "BINPERSID",
}  # fmt: skip


def _spelled(code):
    """Python's own name of an opcode that is refused."""
    from pickletools import code2op

    known = code2op.get(chr(code))
    return f"opcode {known.name}" if known else "this byte"
