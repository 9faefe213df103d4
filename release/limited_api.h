/* Included before all else where a module is compiled for the stable ABI: what Cython's declarations call by the name of
 * a macro that is not in it, by the name of the function that is. */
#define PY_SSIZE_T_CLEAN
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* as the core's files do, which come after Python.h here */
#endif
#include <Python.h>

#define PyBytes_AS_STRING PyBytes_AsString
#define PyBytes_GET_SIZE PyBytes_Size
#define PyFloat_AS_DOUBLE PyFloat_AsDouble
#define PyList_GET_ITEM PyList_GetItem
#define PyList_GET_SIZE PyList_Size
#define PyList_SET_ITEM PyList_SetItem
#define PyTuple_GET_ITEM PyTuple_GetItem
#define PyTuple_GET_SIZE PyTuple_Size
#define PyTuple_SET_ITEM PyTuple_SetItem

/* Not in it by any name. `fallback` is NULL: a variable without a value has a default of its own here. */
static inline int PyContextVar_Get(PyObject *variable, PyObject *fallback, PyObject **value) {
  (void)fallback;
  *value = PyObject_CallMethod(variable, "get", NULL);
  return *value == NULL ? -1 : 0;
}
