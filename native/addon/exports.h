// The parts of the module.
#pragma once

#include <node_api.h>

namespace diffusion {

class Session;

void expose_devices(napi_env env, napi_value exports, Session* session);
void expose_tensors(napi_env env, napi_value exports, Session* session);
void expose_programs(napi_env env, napi_value exports, Session* session);
void expose_operations(napi_env env, napi_value exports, Session* session);

}  // namespace diffusion
