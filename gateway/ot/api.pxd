# The C form of gateway/ot/api.py: what an edit calls.

cimport cython


cpdef object lower(object document, object patch, object strategies=*, object limits=*)
cpdef object apply(object document, object operations)
cpdef object rebase(object operations, object window, bint strict=*, object limits=*)
cpdef object emit(object document, object operations, bint tests=*)
cpdef object settle(object document, object operations, bint tests=*)
cpdef object normalise(object document, object operations, object strategies)
cpdef object touched(object operations)
cpdef object growth(object document, object operations, object limits=*)
