#include "addon/exports.h"
#include "addon/js.h"
#include "addon/session.h"

namespace diffusion {

namespace {

void start(Session& session, napi_env, napi_value on_complete, napi_value make_error) {
  session.start(on_complete, make_error);
}

napi_value list(Session&, napi_env env, std::string library) {
  DeviceDescription devices[16] = {};
  const Backend& backend = load_backend(library).api;
  const int32_t count = backend.list(devices, 16);
  napi_value result;
  js::ok(env, napi_create_array(env, &result));
  for (int32_t i = 0; i < count; ++i) {
    const DeviceDescription& device = devices[i];
    napi_value object, available, bf16;
    js::ok(env, napi_create_object(env, &object));
    js::ok(env, napi_get_boolean(env, device.available, &available));
    js::set(env, object, "id", js::Js<std::string>::out(env, device.id));
    js::ok(env, napi_get_boolean(env, device.available && backend.computes_bf16(i), &bf16));
    js::set(env, object, "available", available);
    js::set(env, object, "bf16", bf16);
    js::set(env, object, "name", js::Js<std::string>::out(env, device.name));
    js::set(env, object, "isa", js::Js<std::string>::out(env, device.isa));
    js::set(env, object, "computeCapability", js::Js<std::string>::out(env, device.compute_capability));
    js::set(env, object, "reason", js::Js<std::string>::out(env, device.reason));
    js::set(env, object, "memoryBytes", js::Js<double>::out(env, static_cast<double>(device.memory_bytes)));
    js::set(env, object, "threads", js::Js<double>::out(env, device.threads));
    js::ok(env, napi_set_element(env, result, static_cast<uint32_t>(i), object));
  }
  return result;
}

// profile: the path of a trace, or ""; its row there has the name
double open(Session& session, napi_env, std::string library, int32_t ordinal, int32_t threads, double memory_limit,
            std::string profile, std::string name) {
  return session.open(library, ordinal, threads, memory_limit, {std::move(profile), std::move(name)});
}

double synchronize(Session& session, napi_env, double id) {
  Device& device = session.device(id);
  device.check_readable();
  return session.with_ticket([&](int64_t ticket) { device.synchronize(ticket); });
}

void halt(Session& session, napi_env) { session.halt(); }

// Call it when the device's last ticket has ended: it joins the executor.
void destroy(Session& session, napi_env, double id) { session.destroy(id); }

napi_value memory(Session& session, napi_env env, double id) {
  const Device::Memory memory = session.device(id).memory();
  napi_value result;
  js::ok(env, napi_create_array_with_length(env, 3, &result));
  const size_t values[3] = {memory.used, memory.peak, memory.reserved};
  for (uint32_t i = 0; i < 3; ++i)
    js::ok(env, napi_set_element(env, result, i, js::Js<double>::out(env, static_cast<double>(values[i]))));
  return result;
}

}  // namespace

void expose_devices(napi_env env, napi_value exports, Session* session) {
  js::expose(env, exports, "start", js::Bound<start>::call, session);
  js::expose(env, exports, "list", js::Bound<list>::call, session);
  js::expose(env, exports, "open", js::Bound<open>::call, session);
  js::expose(env, exports, "synchronize", js::Bound<synchronize>::call, session);
  js::expose(env, exports, "destroy", js::Bound<destroy>::call, session);
  js::expose(env, exports, "halt", js::Bound<halt>::call, session);
  js::expose(env, exports, "memory", js::Bound<memory>::call, session);
}

}  // namespace diffusion
