/* The part of the addon for memory that is shared by its descriptor (core/memory.h, core/descriptors.h). */
#ifndef MEMORY_BINDING_H
#define MEMORY_BINDING_H

#include <node_api.h>
#include <stdbool.h>

/* Add its functions, which binding.ts describes. False: with the exception that is pending. */
bool add_memory_functions(napi_env env, napi_value exports);

#endif
