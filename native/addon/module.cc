// The N-API module: one session an environment, torn down before the environment's memory goes.
#include <napi.h>

#include "addon/exports.h"
#include "addon/js.h"
#include "addon/session.h"

namespace diffusion::js {

napi_value raise(napi_env env, Session& session, const std::exception& error) {
  const auto* known = dynamic_cast<const Error*>(&error);
  const napi_value thrown = session.make_error(
      known != nullptr ? *known : Error(code::device, std::string("native code failed: ") + error.what()));
  if (thrown != nullptr) napi_throw(env, thrown);
  return nullptr;
}

void expose(napi_env env, napi_value exports, const char* name, napi_callback callback, Session* session) {
  napi_value function;
  ok(env, napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, session, &function));
  ok(env, napi_set_named_property(env, exports, name, function));
}

}  // namespace diffusion::js

namespace {

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  auto* session = new diffusion::Session(env);
  env.AddCleanupHook([session] { delete session; });
  exports.Set("abi", Napi::Number::New(env, diffusion::kAbi));
  diffusion::expose_devices(env, exports, session);
  diffusion::expose_tensors(env, exports, session);
  diffusion::expose_programs(env, exports, session);
  diffusion::expose_operations(env, exports, session);
  return exports;
}

}  // namespace

NODE_API_MODULE(diffusion_native, initialise)
