# The C form of gateway/ot/api.py: what an edit calls.

cimport cython


cpdef object budget(long long units=*, long long merged=*)
cpdef object lower(object document, object patch, object strategies=*, object limits=*, object budget=*)
cpdef object apply(object document, object operations, object budget=*)
cpdef object rebase(object operations, object window, object budget=*)
cpdef object rebase_losses(object operations, object window, object budget=*)
cpdef object conflicts(object document, object patch, object window, object strategies=*, object limits=*,
                       object budget=*)
cpdef object overwritten(object document, object operation, object window, object budget=*)
cpdef object emit(object document, object operations, bint tests=*, object budget=*)
cpdef object settle(object document, object operations, bint tests=*, object budget=*)
cpdef object normalise(object document, object operations, object strategies, object budget=*)
cpdef object check_growing(object document, object after, object operations, object strategies,
                           object budget=*)
cpdef object touched(object operations)
cpdef draw(object budget, long long units)
cpdef object growth(object document, object operations, object limits=*, object budget=*)
