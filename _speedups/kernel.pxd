# C types for the modules of gateway/ot/kernel, which setup.py joins into the one unit `_speedups.kernel`.
# Names and order as there; what is missing here stays a Python function.

cimport cython

# values

cdef object INTEGER_MAX
cdef str CONFLICT, INVALID, TOO_LARGE
cdef object UNBOUNDED_BYTES, ABSENT

cdef str check_string(str text)
cdef object check_integer(object value)
@cython.locals(kind=object)
cdef object check_scalar(object value)
cdef bint is_negative_zero(object value) except -1
@cython.locals(level=list, below=list, depth=Py_ssize_t, rewrite=bint)
cpdef object check_value(object value, Py_ssize_t depth_max)
@cython.locals(found=bint, members=dict, items=list)
cdef bint check_members(object container, list below) except -1
cdef bint check_child(object child, list below) except -1
cdef object without_negative_zeros(object value)
cdef object copy_value(object value)
cpdef bint equal(object one, object other) except -1
cpdef bint identical(object one, object other) except -1
cdef bint same(object one, object other, bint exact) except -1
cdef bint same_members(dict one, dict other, bint exact) except -1
@cython.locals(i=Py_ssize_t)
cdef bint same_items(list one, list other, bint exact) except -1
@cython.locals(level=list, below=list, depth=Py_ssize_t, total=longlong)
cpdef long long measure(object value, Py_ssize_t depth_max, long long bytes_max) except -1
cdef long long within(long long total, long long bytes_max) except -1
@cython.locals(total=longlong)
cdef long long own_bytes(object container, list below) except -1
cdef long long scalar_bytes(object value) except -1
cdef long long string_bytes(str text) except -1

# paths

@cython.locals(tokens=list)
cdef list parse_pointer(str pointer)
cdef str unescape(str token)
@cython.locals(size=Py_ssize_t, index=Py_ssize_t, digit=Py_ssize_t, character=Py_UCS4)
cdef Py_ssize_t parse_index(str token) except -2
@cython.locals(pointer=str, text=str)
cdef str format_pointer(tuple path)
cdef bint starts_with(tuple path, tuple prefix) except -1
@cython.locals(i=Py_ssize_t)
cdef bint shares(tuple path, tuple other, Py_ssize_t depth) except -1
cdef bint is_inside(tuple place, tuple node) except -1
@cython.locals(components=list)
cdef tuple with_component(tuple path, Py_ssize_t depth, Py_ssize_t component)
@cython.locals(depth=Py_ssize_t, index=Py_ssize_t, gap=Py_ssize_t)
cdef tuple after_insert(tuple path, tuple at, bint stays)
@cython.locals(depth=Py_ssize_t, index=Py_ssize_t, gone=Py_ssize_t)
cdef tuple after_remove(tuple path, tuple removed)
@cython.locals(depth=Py_ssize_t, index=Py_ssize_t, gone=Py_ssize_t)
cdef tuple before_remove(tuple path, tuple removed)
@cython.locals(depth=Py_ssize_t, index=Py_ssize_t, gap=Py_ssize_t, shifted=tuple)
cdef tuple after_move(tuple path, tuple source, tuple target, bint is_place, bint stays)
@cython.locals(depth=Py_ssize_t)
cdef bint is_own_place(tuple source, tuple target) except -1

# text

cdef object push(list delta, object component)
cdef tuple sealed(list delta)
@cython.locals(limit=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t, delta=list)
cdef tuple difference(str old, str new)
@cython.locals(parts=list, position=Py_ssize_t)
cdef str apply_delta(str text, tuple delta)
@cython.locals(inverse=list, position=Py_ssize_t)
cdef tuple invert_delta(str text, tuple delta)
@cython.locals(result=list, index=Py_ssize_t, used=Py_ssize_t, left=Py_ssize_t, span=Py_ssize_t, taken=Py_ssize_t)
cdef tuple transform_delta(tuple delta, tuple other, bint later)
cdef tuple transform_rest(tuple delta, list result, Py_ssize_t index, Py_ssize_t used)
@cython.locals(delta=list, position=Py_ssize_t, span=Py_ssize_t)
cdef tuple read_delta(object value, str text, bint utf16)
cdef Py_ssize_t read_span(object component, str text, Py_ssize_t position, bint utf16) except -1
cdef list write_delta(tuple delta)

# documents

cdef str INS, REM, SET, MOV, TXT, INC, TST
cdef dict KINDS

cdef object missing(tuple path)
@cython.locals(members=dict, items=list)
cdef object child_of(object parent, tuple path, Py_ssize_t depth)
@cython.locals(depth=Py_ssize_t)
cpdef object get(object document, tuple path)
cdef bint has(object document, tuple path) except -1
@cython.locals(members=dict, items=list)
cdef object shallow(object container, tuple path, Py_ssize_t depth)
cdef Py_ssize_t OWN_MAX
@cython.locals(i=Py_ssize_t)
cdef bint is_own(object container, list own) except -1
cdef object copied(object container, tuple path, Py_ssize_t depth, list own)
cdef list own_of(object operations)
@cython.locals(own=list)
cpdef object apply(object document, object operations)
@cython.locals(kind=str, place=tuple)
cdef object apply_one(object document, tuple operation, list own)
cdef object check_test(object document, tuple operation)
@cython.locals(last=Py_ssize_t, depth=Py_ssize_t)
cdef object edited(object document, str kind, tuple path, object argument, list own)
@cython.locals(last=Py_ssize_t)
cdef object edit_container(object parent, str kind, tuple path, object argument)
cdef object edited_value(object value, str kind, object argument)

# transform

cdef int CALLS_PER_PAIR, CALLS_SPARE, EARLIER_MOVE_CUT, LATER_GONE, LATER_WRITE_LOST

cdef tuple moved_to(tuple operation, tuple path)

cpdef list against(tuple a, tuple b, bint later)
@cython.locals(operation=tuple)
cdef object known(object operations)
@cython.locals(kind=str, delta=tuple)
cdef object past(tuple a, tuple b, bint later)
cdef object gone(tuple a)
@cython.locals(kind=str, path=tuple)
cdef object against_remove(tuple a, tuple removed, bint later)
@cython.locals(kind=str, path=tuple, at=tuple)
cdef object against_set(tuple a, tuple b, bint later)
@cython.locals(kind=str, path=tuple, source=tuple, target=tuple, result=tuple, destination=tuple)
cdef object against_move(tuple a, tuple b, bint later)
@cython.locals(kind=str, at=tuple, source=tuple, target=tuple)
cdef object move_against(tuple a, tuple b, bint later)
cdef object move(tuple a, tuple source, tuple target)
@cython.locals(destination=tuple, back=tuple)
cdef tuple inverse_move(tuple source, tuple target)
@cython.locals(source=tuple, target=tuple, other_source=tuple, other_target=tuple, onward=tuple)
cdef object move_against_move(tuple a, tuple b, bint later)
@cython.locals(source=tuple, other_source=tuple, other_target=tuple, onward=tuple, place=tuple)
cdef object same_member(tuple a, tuple b, bint later)
cdef int loss(tuple operation, object result, bint later) except -1
@cython.final
@cython.freelist(4)
cdef class Work:
    cdef long long calls_left
    cdef int losses

@cython.locals(work=Work, passed=list, crossed=list, operation=tuple)
cpdef tuple transform(object earlier, object later, long long calls_per_pair, long long calls_spare)
@cython.locals(passed=list, index=Py_ssize_t, other=tuple, rest=list)
cdef list pass_one(tuple operation, list earlier, list crossed, Work work)
@cython.locals(ahead=list, is_later=list, operation=tuple, others=list)
cdef list pass_several(list operations, list earlier, list crossed, Work work)
cdef object meet(tuple earlier, tuple later, list passed, Work work)
@cython.locals(path=tuple, at=tuple)
cdef bint are_apart(tuple a, tuple b) except -1
cdef bint goes_past(tuple later, tuple earlier) except -1
@cython.locals(current=list, work=Work, pairs=longlong)
cpdef list rebase(object operations, object window, bint strict, long long pairs_max)
@cython.locals(crossed=list, last=Py_ssize_t, index=Py_ssize_t, operation=tuple, other=tuple)
cdef list pass_all(list operations, list earlier, Work work)

# lower

cdef int SLOTS_PER_BYTE, SLOTS_PER_COMPARISON

@cython.final
@cython.no_gc
@cython.freelist(4)
cdef class Bounds:
    cdef Py_ssize_t depth_max
    cdef long long copied_bytes_left
    cdef long long slots_left
    cdef list own
    cdef int charge(self, long long slots) except -1
    cdef int share(self) except -1

@cython.locals(bounds=Bounds, operations=list, index=Py_ssize_t, done=Py_ssize_t)
cpdef tuple lower(object document, object patch, object strategies, Py_ssize_t depth_max,
                  Py_ssize_t operations_max, long long copied_bytes_max, bint wants_document)
@cython.locals(operations=list, detour=list, literal=list)
cdef list lower_with_sets(object document, list patch, object strategies, Bounds bounds)
cdef Py_ssize_t known_item(object document, tuple operation, object strategies, Bounds bounds) except -2
cdef list to_old_place(tuple insertion, Py_ssize_t known)
@cython.locals(tokens=list, name=str)
cdef object lower_entry(object document, dict entry, object strategies, Bounds bounds, list operations)
cdef object argument(dict entry)
cdef list source_of(dict entry)
cdef tuple locate(object document, list tokens, Bounds bounds)
@cython.locals(depth=Py_ssize_t, token=str, members=dict, items=list, index=Py_ssize_t)
cdef object descend(object node, list path, Py_ssize_t count, Bounds bounds)
@cython.locals(last=Py_ssize_t, token=str, size=Py_ssize_t, index=Py_ssize_t)
cdef tuple locate_place(object document, list tokens, Bounds bounds)
@cython.locals(known=Py_ssize_t, items=list)
cdef object lower_add(object document, tuple place, object value, object strategies, Bounds bounds, list operations)
cdef Py_ssize_t index_of(list items, object value, object rule) except -2
cdef object item_id(object item, object rule)
cdef object lower_set(object document, tuple path, object value, object strategies, list operations)
cdef tuple lower_test(object document, list tokens, dict entry, Bounds bounds)
@cython.locals(source=tuple, place=tuple, target=tuple, is_same=bint, is_into_itself=bint)
cdef object lower_move(object document, list source_tokens, list tokens, Bounds bounds, list operations)
cdef object lower_text(object document, tuple path, dict entry, list operations)
cdef object lower_inc(object document, tuple path, object amount, list operations)
cdef object captured(object value, list tokens, Bounds bounds)

# emit

@cython.locals(patch=list, last=Py_ssize_t, index=Py_ssize_t, own=list)
cpdef list emit(object document, object operations, bint tests)
@cython.locals(kind=str, pointer=str, replaces=bint)
cdef object emit_one(object document, tuple operation, bint tests, list patch)
cdef list hops(object document, tuple move)
cpdef object settle(object document, object operations, bint tests)
cdef bint needs_hops(tuple move) except -1
@cython.locals(result=list, own=list)
cdef list settled(object document, object operations, bint tests)
@cython.locals(kept=list, own=list)
cpdef object normalise(object document, object operations, object strategies)
cpdef object touched(object operations)

# inverse

cpdef list invert(object document, object operations)
@cython.locals(kind=str, path=tuple)
cdef tuple invert_one(object document, tuple operation)
cpdef long long growth(object document, object operations, Py_ssize_t depth_max) except -1
@cython.locals(kind=str, path=tuple, place=tuple, total=longlong)
cdef long long growth_of(object document, tuple operation, Py_ssize_t depth_max) except -1
