# C types for the modules of gateway/ot/kernel, which setup.py joins into the one unit `_speedups.kernel`.
# Names and order as there; what is missing here stays a Python function.

cimport cython

# errors

cdef str CONFLICT, INVALID, TOO_LARGE

# budget

cdef long long UNBOUNDED_UNITS, NOT_MERGING, MUCH_OF_IT
cdef int SLOT_UNITS, MEMBER_UNITS, NODE_UNITS, CONTAINER_UNITS, ENTRY_UNITS, LEVEL_UNITS, APART_UNITS, PAIR_UNITS, STEP_UNITS
cdef int COMPONENT_UNITS, POINTER_UNITS, SLOT_BYTES, MEMBER_BYTES
cdef str TOO_MUCH, TOO_MANY_CONCURRENT

@cython.final
cdef class Budget:
    cdef readonly long long units, left, kept_bytes, merged
    cdef long long _merges_from
    cpdef int charge(self, long long units) except -1
    cdef void begin_merging(self) noexcept
    cdef void end_merging(self) noexcept
    cdef int charge_array(self, Py_ssize_t size) except -1
    cdef int charge_object(self, Py_ssize_t size) except -1
    @cython.locals(size=Py_ssize_t)
    cdef int charge_text(self, str text) except -1

cdef Budget drawn(Budget budget)

# values

cdef long long INTEGER_MAX
cdef double EXPONENT_MIN
cdef Py_ssize_t DEPTH_UNBOUNDED
cdef object UNBOUNDED_BYTES, ABSENT

cdef str check_string(str text)
@cython.locals(number=longlong)
cdef object check_integer(object value)
cdef object inexact()
@cython.locals(number=longlong)
cdef long long machine_integer(object value)
@cython.locals(kind=object)
cdef object check_scalar(object value)
cdef bint is_negative_zero(object value) except -1
cpdef object check_value(object value, Py_ssize_t depth_max)
@cython.locals(level=list, below=list, depth=Py_ssize_t, rewrite=bint)
cdef object checked(object value, Py_ssize_t depth_max, Budget budget)
@cython.locals(found=bint, members=dict, items=list)
cdef bint check_members(object container, list below) except -1
cdef bint check_child(object child, list below) except -1
cdef object without_negative_zeros(object value)
cdef object copy_value(object value)
cpdef bint equal(object one, object other) except -1
cpdef bint identical(object one, object other) except -1
cdef bint same(object one, object other, bint exact, Budget budget) except -1
cdef bint same_members(dict one, dict other, bint exact, Budget budget) except -1
@cython.locals(i=Py_ssize_t)
cdef bint same_items(list one, list other, bint exact, Budget budget) except -1
cpdef long long measure(object value, Py_ssize_t depth_max, long long bytes_max) except -1
@cython.locals(level=list, below=list, depth=Py_ssize_t, total=longlong, size=longlong)
cdef long long measured(object value, Py_ssize_t depth_max, long long bytes_max, Budget budget) except -1
@cython.locals(level=list, below=list, height=Py_ssize_t)
cdef int check_height(object value, Py_ssize_t height_max, Budget budget) except -1
cdef int add_containers(object container, list below) except -1
cdef long long within(long long total, long long bytes_max) except -1
@cython.locals(total=longlong)
cdef long long own_bytes(object container, list below) except -1
cdef long long scalar_bytes(object value) except -1
@cython.locals(number=longlong, size=longlong, rest=longlong, bound=longlong)
cdef long long integer_bytes(object value) except -1
cdef long long string_bytes(str text) except -1

# paths

@cython.locals(tokens=list)
cdef list parse_pointer(str pointer)
cdef str unescape(str token)
@cython.locals(size=Py_ssize_t, index=Py_ssize_t, digit=Py_ssize_t, character=Py_UCS4)
cdef Py_ssize_t parse_index(str token) except -2
@cython.locals(pointer=str, text=str)
cdef str format_pointer(tuple path)
@cython.locals(size=Py_ssize_t)
cdef str written_pointer(tuple path, Budget budget)
cdef bint starts_with(tuple path, tuple prefix) except -1
@cython.locals(i=Py_ssize_t)
cdef bint shares(tuple path, tuple other, Py_ssize_t depth) except -1
cdef bint is_same_place(tuple path, tuple other) except -1
cdef bint is_inside(tuple place, tuple node) except -1
@cython.locals(components=list)
cdef tuple with_component(tuple path, Py_ssize_t depth, Py_ssize_t component)
@cython.locals(depth=Py_ssize_t, index=Py_ssize_t, gap=Py_ssize_t)
cdef tuple after_insert(tuple path, tuple at, bint stays)
@cython.locals(depth=Py_ssize_t, index=Py_ssize_t, gone=Py_ssize_t)
cdef tuple after_remove(tuple path, tuple removed)
@cython.locals(depth=Py_ssize_t, index=Py_ssize_t, gap=Py_ssize_t, shifted=tuple)
cdef tuple after_move(tuple path, tuple source, tuple target, bint is_place, bint stays)
@cython.locals(depth=Py_ssize_t)
cdef bint is_own_place(tuple source, tuple target) except -1

# text

cdef object push(list delta, object component)
@cython.locals(i=Py_ssize_t)
cdef tuple sealed(list delta)
@cython.locals(joined=list, texts=list)
cdef list with_joined_texts(list delta)
@cython.locals(parts=list, position=Py_ssize_t)
cdef str apply_delta(str text, tuple delta)
@cython.locals(inverse=list, position=Py_ssize_t)
cdef tuple invert_delta(str text, tuple delta)
@cython.locals(result=list, index=Py_ssize_t, used=Py_ssize_t, left=Py_ssize_t, span=Py_ssize_t, taken=Py_ssize_t)
cdef tuple transform_delta(tuple delta, tuple other, bint later)
cdef tuple transform_rest(tuple delta, list result, Py_ssize_t index, Py_ssize_t used)
cdef object LENGTH_MAX
cdef list components_of(object value, Budget budget)
@cython.locals(delta=list)
cdef tuple read_delta(list components, str text, bint utf16, Budget budget)
@cython.locals(i=Py_ssize_t, length=Py_ssize_t, span=Py_ssize_t)
cdef int read_components(list components, Py_ssize_t first, str text, Py_ssize_t position, bint utf16, list delta,
                         Budget budget) except -1
cdef Py_ssize_t length_of(object component) except -1
cdef Py_ssize_t codepoint_span(str text, Py_ssize_t position, Py_ssize_t length) except -1
@cython.locals(at=Py_ssize_t)
cdef Py_ssize_t utf16_span(str text, Py_ssize_t position, Py_ssize_t units) except -1
cdef list write_delta(tuple delta)

# longtext

cdef int PIECE_LENGTH, LONG_LENGTH

cdef Py_ssize_t extra_units(str text) except -1
@cython.final
cdef class LongText:
    cdef Py_ssize_t length, extra_total, before, rest
    cdef list pieces, extra
    cdef str whole(self, Budget budget)
    @cython.locals(size=Py_ssize_t, i=Py_ssize_t, start=Py_ssize_t, units=Py_ssize_t, pieces=list, extra=list)
    cdef object put(self, Py_ssize_t first, Py_ssize_t count, str text)
    @cython.locals(before=Py_ssize_t, index=Py_ssize_t, last=Py_ssize_t, size=Py_ssize_t, span=Py_ssize_t)
    cdef Py_ssize_t find(self, Py_ssize_t offset, bint utf16) except -1
    @cython.locals(lead=Py_ssize_t, reach=Py_ssize_t, i=Py_ssize_t, first=Py_ssize_t, last=Py_ssize_t,
                   before=Py_ssize_t, start=Py_ssize_t, wide=bint, delta=list, result=tuple)
    cdef tuple read_and_edit(self, list components, bint utf16, Budget budget)
    @cython.locals(lead=Py_ssize_t, reach=Py_ssize_t, first=Py_ssize_t, last=Py_ssize_t, before=Py_ssize_t,
                   within=tuple, back=list)
    cdef tuple edit(self, tuple delta, Budget budget)
    @cython.locals(i=Py_ssize_t)
    cdef bint has_extra(self, Py_ssize_t first, Py_ssize_t last) except -1
    cdef str taken(self, Py_ssize_t first, Py_ssize_t last, Budget budget)

cdef LongText long_text(str text, Budget budget)
@cython.locals(lead=Py_ssize_t)
cdef tuple shifted(tuple delta, Py_ssize_t before)
@cython.locals(reach=Py_ssize_t)
cdef Py_ssize_t reach_of(tuple delta) except -1
@cython.locals(growth=Py_ssize_t)
cdef Py_ssize_t growth_of_delta(tuple delta) except? -1

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
cdef object shallow(object container, tuple path, Py_ssize_t depth, Budget budget)
cdef Py_ssize_t OWN_MAX
@cython.locals(i=Py_ssize_t)
cdef bint is_own(object container, list own) except -1
cdef object copied(object container, tuple path, Py_ssize_t depth, list own, Budget budget)
cdef list own_of(object operations)
@cython.locals(own=list, draws=Budget, index=Py_ssize_t, count=Py_ssize_t, end=Py_ssize_t)
cpdef object apply(object document, object operations, Budget budget)
@cython.locals(path=tuple, end=Py_ssize_t)
cdef Py_ssize_t texts_upto(object document, object operations, Py_ssize_t first) except -1
@cython.locals(path=tuple, text=LongText, i=Py_ssize_t)
cdef object apply_texts(object document, object operations, Py_ssize_t first, Py_ssize_t end, list own, Budget budget)
@cython.locals(kind=str, place=tuple)
cdef object apply_one(object document, tuple operation, list own, Budget budget)
cdef object check_test(object document, tuple operation, Budget budget)
@cython.locals(last=Py_ssize_t, depth=Py_ssize_t)
cdef object edited(object document, str kind, tuple path, object argument, list own, Budget budget)
@cython.locals(last=Py_ssize_t)
cdef object edit_container(object parent, str kind, tuple path, object argument, Budget budget)
cdef object edited_value(object value, str kind, object argument, Budget budget)

# transform

cdef int CALLS_PER_PAIR, CALLS_SPARE, EARLIER_MOVE_CUT, LATER_GONE, LATER_WRITE_LOST, LATER_WRITES_OVER, ONLY_WRITES_OVER

cdef tuple moved_to(tuple operation, tuple path)

cpdef list against(tuple a, tuple b, bint later)
@cython.locals(operation=tuple)
cdef object known(object operations)
@cython.locals(kind=str)
cdef bint is_known(tuple operation) except -1
@cython.locals(kind=str, delta=tuple, at=tuple)
cdef object past(tuple a, tuple b, bint later, Budget budget)
cdef object gone(tuple a)
@cython.locals(kind=str, path=tuple)
cdef object against_remove(tuple a, tuple removed, bint later)
@cython.locals(kind=str, path=tuple, at=tuple)
cdef object against_set(tuple a, tuple b, bint later, Budget budget)
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
cdef int loss(tuple operation, object result) except -1
@cython.locals(kind=str, path=tuple)
cdef int later_loss(tuple operation, tuple b, object result) except -1
@cython.final
cdef class Work:
    cdef long long calls_left
    cdef int losses
    cdef Budget budget

@cython.locals(work=Work, passed=list, crossed=list, operation=tuple)
cpdef tuple transform(object earlier, object later, long long calls_per_pair, long long calls_spare,
                      Budget budget)
@cython.locals(passed=list, index=Py_ssize_t, other=tuple, rest=list)
cdef list pass_one(tuple operation, list earlier, list crossed, Work work)
@cython.locals(ahead=list, is_later=list, operation=tuple, others=list)
cdef list pass_several(list operations, list earlier, list crossed, Work work)
cdef object meet(tuple earlier, tuple later, list passed, Work work)
@cython.locals(path=tuple, at=tuple)
cdef bint are_apart(tuple a, tuple b) except -1
cdef bint is_written_over(tuple earlier, tuple later, Budget budget) except -1
cdef tuple same_after(tuple earlier, tuple later, Work work)
@cython.locals(current=list, work=Work, stays=bint, committed=list, same_one=tuple)
cpdef tuple rebase(object operations, object window, Budget budget)
@cython.locals(crossed=list, last=Py_ssize_t, index=Py_ssize_t, operation=tuple, other=tuple)
cdef list pass_all(list operations, list earlier, Work work)

# spans

cdef int ROUNDS_MAX, STEPS_MAX, GAP_LENGTH_MAX, FIRST_ALONE

@cython.locals(delta=list, at=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t, new_start=Py_ssize_t, new_end=Py_ssize_t)
cpdef tuple difference(str old, str new, Budget budget)
@cython.locals(start=Py_ssize_t, end=Py_ssize_t, new_end=Py_ssize_t, found=list)
cdef list text_spans(str old, str new, Budget budget)
@cython.locals(limit=Py_ssize_t, lead=Py_ssize_t, tail=Py_ssize_t)
cdef tuple trimmed(str old, str new, Py_ssize_t start, Py_ssize_t end, Py_ssize_t new_start, Py_ssize_t new_end)
@cython.locals(start=Py_ssize_t, end=Py_ssize_t, new_start=Py_ssize_t, new_end=Py_ssize_t, lead=Py_ssize_t,
               kept=Py_ssize_t, found=list, part=tuple)
cdef list refined(str old, str new, tuple span, Budget budget)
@cython.locals(words=list, new_words=list, found=list, offsets=list, new_offsets=list, spans=list, span=tuple, before=tuple)
cdef list word_spans(str old, str new, Budget budget)
@cython.locals(i=Py_ssize_t)
cdef bint is_gap(str text, Py_ssize_t start, Py_ssize_t end) except -1
cdef bint is_of_word(long code) except -1
@cython.locals(words=list, start=Py_ssize_t, size=Py_ssize_t, end=Py_ssize_t)
cdef list words_of(str text, Budget budget)
@cython.locals(offsets=list)
cdef list offsets_of(list words)
@cython.locals(size=Py_ssize_t, new_size=Py_ssize_t, rounds=Py_ssize_t, reached=list, middle=Py_ssize_t, trace=list,
               count=Py_ssize_t, diagonal=Py_ssize_t, at=Py_ssize_t)
cdef list compared(list old, list new, Budget budget)
cdef bint inserts(list reached, Py_ssize_t middle, Py_ssize_t diagonal, Py_ssize_t count) except -1
@cython.locals(spans=list, at=Py_ssize_t, new_at=Py_ssize_t, count=Py_ssize_t, reached=list, middle=Py_ssize_t,
               diagonal=Py_ssize_t, before=Py_ssize_t, new_before=Py_ssize_t, after=Py_ssize_t, new_after=Py_ssize_t,
               last=tuple)
cdef list traced_back(list trace, Py_ssize_t size, Py_ssize_t new_size)

# sets

cdef str GROW
cdef int SET_OPERATIONS_MAX

cdef bint is_keyed(object rule) except -1
cdef bint is_own_id(object rule) except -1
cdef object item_id(object item, object rule)
cdef Py_ssize_t index_of(list items, object value, object rule, Budget budget) except -2
cdef Py_ssize_t place_of_id(list items, object key, object rule, Py_ssize_t first, Budget budget) except -2
@cython.locals(kind=str, place=tuple, container=tuple, size=Py_ssize_t)
cdef tuple set_item(tuple operation, object strategies)
cdef bint is_within(tuple operation, tuple container) except -1
cdef bint comes_in(tuple operation, tuple item) except -1
@cython.locals(kind=str, is_whole=bint)
cdef object id_given(object document, tuple operation, tuple item, object rule, Budget budget)
@cython.locals(item=tuple, container=tuple, known=Py_ssize_t, first=Py_ssize_t, after=list)
cdef Py_ssize_t double_of(object document, tuple operation, object rest, object strategies, Budget budget) except -2
cdef list items_at(object document, tuple container)
@cython.locals(index=Py_ssize_t, operation=tuple)
cdef Py_ssize_t last_taking(object operations, tuple container, object rule, Budget budget) except -2
@cython.locals(depth=Py_ssize_t)
cdef bint touches_id(tuple path, tuple container, object rule) except -1
@cython.locals(keys=list)
cdef list keys_of(list items, object rule)
cdef tuple without_doubles(list items, list keys)
@cython.locals(keys=list, new_keys=list, operations=list, index=Py_ssize_t, wanted=set, kept=list, before=dict)
cdef list replacing(tuple path, list old, list new, object rule, Budget budget)
@cython.locals(staying=set, known=set, gap=Py_ssize_t, index=Py_ssize_t, source=Py_ssize_t)
cdef object place_items(tuple path, list present, list new, list new_keys, list operations, Budget budget)
@cython.locals(places=dict, tops=list, ends=list, before=dict, length=Py_ssize_t, found=set, count=Py_ssize_t)
cdef set in_order(list present, list new_keys)
cdef object change_item(tuple path, object old, object new, list operations, Budget budget)
cdef list in_utf16_order(object names)
cdef bytes utf16(str name)
@cython.locals(keys=list, new_keys=list, at=Py_ssize_t)
cdef bint keeps_items(object old, list new, object rule, Budget budget) except -1
@cython.locals(draws=Budget)
cpdef object check_growing(object document, object after, object operations, object strategies, Budget budget)
cdef object only_grows(tuple path)

# lower

@cython.final
cdef class Bounds:
    cdef Py_ssize_t depth_max, index
    cdef long long copied_bytes_left
    cdef list own
    cdef Budget budget
    cdef list ends, lost
    cdef int end_entry(self, list operations) except -1
    cdef object stored(self, object value, Py_ssize_t depth)
    cdef int share(self) except -1

@cython.locals(bounds=Bounds)
cpdef tuple lower(object document, object patch, object strategies, Py_ssize_t depth_max,
                  Py_ssize_t operations_max, long long copied_bytes_max, bint wants_document, Budget budget)
cdef object check_patch(object patch, Py_ssize_t operations_max)
@cython.locals(operations=list)
cdef tuple lower_patch(object document, list patch, object strategies, Bounds bounds, bint wants_document)
@cython.locals(done=Py_ssize_t)
cdef object lower_entries(object document, list patch, object strategies, Bounds bounds, list operations,
                          bint wants_document)
cdef dict checked_entry(list patch, Py_ssize_t index)
cdef bint begins_texts(list patch, Py_ssize_t index) except -1
@cython.locals(path=tuple)
cdef bint may_lose(str pointer, object strategies) except -1
cdef bint is_text_at(object entry, str pointer) except -1
@cython.locals(budget=Budget, pointer=str, path=tuple, text=str, long=LongText, components=list, delta=tuple)
cdef object lower_texts(object document, list patch, Bounds bounds, list operations)
cdef bint adds_to_sets(list patch, object strategies) except -1
@cython.locals(fresh=list)
cdef object find_lost(object document, list operations, Py_ssize_t first, object strategies, Bounds bounds)
@cython.locals(index=Py_ssize_t, path=tuple)
cdef object check_lost(object document, list operations, Bounds bounds)
cdef bint has_path(object document, tuple path) except -1
@cython.locals(budget=Budget, detour=list, literal=list, real_own=list)
cdef object lower_with_sets(object document, list patch, object strategies, Bounds bounds, list operations)
cdef Py_ssize_t known_item(object document, tuple operation, object strategies, Bounds bounds) except -2
cdef bint is_whole(list operations, tuple path) except -1
@cython.locals(path=tuple, items=list, keys=list, first=dict, again=list)
cdef list doubles(tuple replaced, object strategies, Bounds bounds)
cdef list to_old_place(tuple insertion, Py_ssize_t known)
@cython.locals(budget=Budget, tokens=list, name=str)
cdef object lower_entry(object document, dict entry, object strategies, Bounds bounds, list operations)
cdef object argument(dict entry)
cdef list source_of(dict entry)
cdef tuple locate(object document, list tokens)
@cython.locals(depth=Py_ssize_t, token=str, members=dict, items=list, index=Py_ssize_t)
cdef object descend(object node, list path, Py_ssize_t count)
@cython.locals(last=Py_ssize_t, token=str, size=Py_ssize_t, index=Py_ssize_t)
cdef tuple locate_place(object document, list tokens)
@cython.locals(known=Py_ssize_t)
cdef object lower_add(object document, tuple place, object value, object strategies, Bounds bounds, list operations)
cdef object lower_set(object document, tuple path, object value, object strategies, Bounds bounds, list operations)
cdef tuple lower_test(object document, list tokens, dict entry, Bounds bounds)
@cython.locals(source=tuple, place=tuple, target=tuple, is_same=bint, is_into_itself=bint)
cdef object lower_move(object document, list source_tokens, list tokens, Bounds bounds, list operations)
@cython.locals(keys=list, hole=Py_ssize_t, last=Py_ssize_t, depth=Py_ssize_t, is_beside=bint, leaves=bint)
cdef tuple locate_target(object document, list tokens, tuple source)
@cython.locals(token=str, is_place=bint, index=Py_ssize_t)
cdef Py_ssize_t index_in(list tokens, Py_ssize_t depth, Py_ssize_t size) except -2
cdef str text_at(object document, tuple path)
cdef bint is_utf16(dict entry) except -1
@cython.locals(text=str, delta=tuple)
cdef object lower_text(object document, tuple path, dict entry, Budget budget, list operations)
cdef object lower_inc(object document, tuple path, object amount, list operations)
@cython.locals(budget=Budget, before=longlong, size=longlong)
cdef object captured(object value, list tokens, Bounds bounds)

# emit

@cython.locals(patch=list, last=Py_ssize_t, index=Py_ssize_t, own=list, draws=Budget)
cpdef list emit(object document, object operations, bint tests, Budget budget)
cdef bint moves_nodes(tuple operation) except -1
@cython.locals(kind=str, pointer=str, replaces=bint)
cdef object emit_one(object document, tuple operation, bint tests, list patch, Budget budget)
cdef object emit_move(object document, tuple move, list patch, Budget budget)
cdef list hops(object document, tuple move)
cpdef object settle(object document, object operations, bint tests, Budget budget)
cdef bint needs_hops(tuple move) except -1
@cython.locals(result=list, own=list)
cdef list settled(object document, object operations, bint tests, Budget budget)
@cython.locals(draws=Budget)
cpdef object normalise(object document, object operations, object strategies, Budget budget)
@cython.locals(index=Py_ssize_t, operation=tuple)
cdef object with_single_ids(object operations, object strategies, Budget budget)
@cython.locals(items=list, keys=list)
cdef object without_doubles_in(object value, tuple path, object rule, Budget budget)
@cython.locals(kept=list, rest=list, own=list, operation=tuple, undone=list, is_same=bint)
cdef object without_double_ids(object document, object operations, object strategies, Budget budget)
cdef bint gives_ids(object operations, object strategies) except -1
cpdef object touched(object operations)

# inverse

@cython.locals(inverses=list, draws=Budget, own=list, index=Py_ssize_t, count=Py_ssize_t, end=Py_ssize_t)
cpdef list invert(object document, object operations, Budget budget)
@cython.locals(path=tuple, text=LongText, i=Py_ssize_t)
cdef object invert_texts(object document, object operations, Py_ssize_t first, Py_ssize_t end, list inverses,
                         list own, Budget budget)
@cython.locals(kind=str, path=tuple)
cdef tuple invert_one(object document, tuple operation, Budget budget)
@cython.locals(draws=Budget, own=list, last=Py_ssize_t, index=Py_ssize_t, total=longlong)
cpdef long long growth(object document, object operations, Py_ssize_t depth_max, Budget budget) except -1
@cython.locals(kind=str, path=tuple, place=tuple, total=longlong)
cdef long long growth_of(object document, tuple operation, Py_ssize_t depth_max, Budget budget) except -1

# conflicts

cdef str OVERWROTE, DROPPED
cdef Py_ssize_t CONFLICTS_MAX, VALUE_BYTES_MAX

@cython.final
cdef class Trace:
    cdef tuple path, below
    cdef bint is_place, is_dead, is_gone, was_removed, is_replaced
    cdef object written
    cdef Py_ssize_t change, around
    cdef tuple place(self)
    @cython.locals(kind=str, at=tuple)
    cdef object step(self, tuple operation, Py_ssize_t index)
    cdef object step_value(self, tuple at, object value, Py_ssize_t index)
    cdef object come_back(self, Py_ssize_t index)
    cdef object step_removal(self, tuple removed, Py_ssize_t index)
    @cython.locals(source=tuple, target=tuple, place=tuple)
    cdef object step_move(self, tuple operation, Py_ssize_t index)

@cython.final
cdef class Scene:
    cdef object seen, there, strategies
    cdef list changes
    cdef Work work
    @cython.locals(trace=Trace, index=Py_ssize_t, operation=tuple)
    cdef Trace traced(self, tuple path, bint is_place)
    cdef bint is_again(self, tuple path, Trace trace, tuple operation) except -1
    cdef int charge(self, Py_ssize_t index) except -1
    cdef bint is_same(self, object one, object other) except -1
    cdef bint is_among(self, object items, object wanted) except -1

@cython.locals(draws=Budget, bounds=Bounds, operations=list, changes=list, found=list, scene=Scene)
cpdef list conflicts(object document, object patch, object window, object strategies, Py_ssize_t depth_max,
                     Py_ssize_t operations_max, long long copied_bytes_max, Budget budget)
@cython.locals(other=tuple)
cdef bint is_plain(tuple operation, list changes, object strategies, Budget budget) except -1
@cython.locals(entry=Py_ssize_t)
cdef Py_ssize_t entry_of(list ends) except -1
cpdef list overwritten(object seen, tuple operation, list window, Budget budget)
@cython.locals(path=tuple, index=Py_ssize_t, other=tuple)
cdef list judge_plain(object seen, tuple operation, list changes, Budget budget)
@cython.locals(committed=list, own=list, calls=longlong)
cdef Scene staged(object document, list operations, list changes, object strategies, Budget draws)
@cython.locals(found=list, entry=Py_ssize_t, index=Py_ssize_t, operation=tuple, results=list, changes=list,
               steps=list, other=Py_ssize_t)
cdef list found_conflicts(Scene scene, list operations, list ends)
@cython.locals(current=list, passed=list, crossed=list, change=list, part=tuple)
cdef tuple past_changes(tuple operation, list changes, Work work)
@cython.locals(operation=tuple, following=tuple)
cdef object replacement(list operations, Py_ssize_t index)
@cython.locals(kind=str)
cdef object judge(Scene scene, tuple operation, object wanted, list results)
@cython.locals(result=tuple, change=Py_ssize_t, chased=tuple)
cdef object judge_written(Scene scene, tuple operation, object wanted, list results)
@cython.locals(source=tuple, trace=Trace, target=Trace, change=Py_ssize_t, path=tuple, stands=bint)
cdef object judge_move(Scene scene, tuple operation, list results)
@cython.locals(index=Py_ssize_t, operation=tuple, stands=bint)
cdef bint follow_both(Scene scene, Trace source, Trace target) except -1
cdef bint is_standing(Trace source, Trace target) except -1
@cython.locals(kind=str, path=tuple, trace=Trace)
cdef object judge_dropped(Scene scene, tuple operation, object wanted)
cdef bint is_kept(Scene scene, tuple path, object base, tuple place) except -1
@cython.locals(path=tuple, trace=Trace)
cdef object judge_lost_item(Scene scene, tuple operation)
@cython.locals(budget=Budget, other=Py_ssize_t, rest=list)
cdef Py_ssize_t doubled(Scene scene, list results, list steps, Py_ssize_t index) except -2
@cython.locals(item=tuple, container=tuple, place=tuple, path=tuple)
cdef object judge_doubled(Scene scene, tuple operation, tuple result, Py_ssize_t other)
@cython.locals(depth=Py_ssize_t, index=Py_ssize_t, operation=tuple, at=tuple, is_whole=bint)
cdef Py_ssize_t writer_at(Scene scene, tuple container, Py_ssize_t place) except -2
cdef object value_at(object document, tuple path)
@cython.locals(report=dict, omitted=list)
cdef dict described(str kind, tuple path, object base, object theirs, Py_ssize_t change, Budget budget)
cdef bint is_small(object value) except -1

# differences

cpdef list differences(object before, object after, Budget budget)
cdef object differences_at(list place, object before, object after, list operations, Budget budget)
cdef object differences_of_members(list place, dict before, dict after, list operations, Budget budget)
@cython.locals(index=Py_ssize_t)
cdef object differences_of_items(list place, list before, list after, list operations, Budget budget)
@cython.locals(shorter=Py_ssize_t, start=Py_ssize_t, tail=Py_ssize_t, index=Py_ssize_t)
cdef object differences_of_span(list place, list before, list after, list operations, Budget budget)

# merge

@cython.final
cdef class Merging:
    cdef object strategies
    cdef list conflicts
    cdef Budget budget
    cdef bint is_same(self, object one, object other) except -1
    cdef object report(self, tuple path, object base, object mine, object theirs)

@cython.locals(merging=Merging, operations=list)
cpdef tuple merge(object base, object mine, object theirs, object strategies, Budget budget)
cdef object merged_node(object base, object mine, object theirs, tuple path, Merging merging)
cdef str merged_text(str base, str mine, str theirs, Budget budget)
cdef dict merged_members(dict base, dict mine, dict theirs, tuple path, Merging merging)
cdef object merged_items(list base, list mine, list theirs, tuple path, object rule, Merging merging)
cdef object merged_item(object base, object mine, object theirs, tuple path, object rule, Merging merging)
