#include "addon/exports.h"
#include "addon/js.h"
#include "addon/session.h"

namespace diffusion {

namespace {

void begin_recording(Session& session, napi_env, double device) { session.device(device).begin_recording(); }

double end_recording(Session& session, napi_env, double id) {
  Device& device = session.device(id);
  return session.add(device, device.end_recording());
}

void abandon_recording(Session& session, napi_env, double device) { session.device(device).abandon_recording(); }
void pause_recording(Session& session, napi_env, double device) { session.device(device).pause_recording(); }
void resume_recording(Session& session, napi_env, double device) { session.device(device).resume_recording(); }

void run_program(Session& session, napi_env, double id) {
  const auto& [device, program] = session.program(id);
  device->run(*program);
}

// [{name, dtype, shapes, flops, bytes}, …]
napi_value program_work(Session& session, napi_env env, double id) {
  const auto& commands = session.program(id).program->body->commands;
  napi_value result;
  js::ok(env, napi_create_array(env, &result));
  uint32_t count = 0;
  Work work;
  for (const CommandPtr& command : commands) {
    if (!command->describe(work)) continue;
    napi_value object;
    js::ok(env, napi_create_object(env, &object));
    js::set(env, object, "name", js::Js<std::string>::out(env, work.name));
    js::set(env, object, "dtype", js::Js<std::string>::out(env, name_of(work.dtype)));
    js::set(env, object, "shapes", js::Js<std::string>::out(env, work.shapes));
    js::set(env, object, "flops", js::Js<double>::out(env, work.flops));
    js::set(env, object, "bytes", js::Js<double>::out(env, static_cast<double>(work.bytes)));
    js::ok(env, napi_set_element(env, result, count++, object));
  }
  return result;
}

void release_program(Session& session, napi_env, double id) { session.release_program(id); }

}  // namespace

void expose_programs(napi_env env, napi_value exports, Session* session) {
  js::expose(env, exports, "beginRecording", js::Bound<begin_recording>::call, session);
  js::expose(env, exports, "endRecording", js::Bound<end_recording>::call, session);
  js::expose(env, exports, "abandonRecording", js::Bound<abandon_recording>::call, session);
  js::expose(env, exports, "pauseRecording", js::Bound<pause_recording>::call, session);
  js::expose(env, exports, "resumeRecording", js::Bound<resume_recording>::call, session);
  js::expose(env, exports, "runProgram", js::Bound<run_program>::call, session);
  js::expose(env, exports, "programWork", js::Bound<program_work>::call, session);
  js::expose(env, exports, "releaseProgram", js::Bound<release_program>::call, session);
}

}  // namespace diffusion
