#include <cmath>

#include "addon/exports.h"
#include "addon/js.h"
#include "addon/session.h"

namespace diffusion {

namespace {

constexpr size_t kMaxArguments = 2 + kMaxRank;

// Sizes of the axes, from arguments first … count − 1.
View shape_from(napi_env env, const napi_value* arguments, size_t first, size_t count, DType dtype) {
  View view;
  view.dtype = dtype;
  view.rank = static_cast<int32_t>(count - first);
  double size = static_cast<double>(bytes_of(dtype));
  for (size_t i = first; i < count; ++i) {
    const double axis = js::Js<double>::in(env, arguments[i]);
    if (!(axis >= 1 && axis <= 0x1p53) || axis != std::floor(axis))
      fail(code::shape, "an axis must be a positive integer");
    view.shape[i - first] = static_cast<int64_t>(axis);
    size *= axis;
  }
  if (size > 0x1p46) fail(code::out_of_memory, "a tensor of %.3g bytes is beyond any device", size);
  return view;
}

struct Call {
  napi_env env;
  Session& session;
  size_t count;
  napi_value arguments[kMaxArguments];
};

template <double (*Function)(Call&)>
napi_value variadic(napi_env env, napi_callback_info info) {
  size_t count = kMaxArguments;
  void* data = nullptr;
  napi_value arguments[kMaxArguments];
  napi_get_cb_info(env, info, &count, arguments, nullptr, &data);
  Call call{env, *static_cast<Session*>(data), std::min(count, kMaxArguments), {}};
  std::copy(arguments, arguments + call.count, call.arguments);
  try {
    if (count < 3 || count > kMaxArguments) fail(code::shape, "a tensor has 1 to %d axes", kMaxRank);
    return js::Js<double>::out(env, Function(call));
  } catch (const std::exception& error) {
    return js::raise(env, call.session, error);
  }
}

// allocate(device, dtype, ...axes): handle
double allocate(Call& call) {
  Device& device = call.session.device(js::Js<double>::in(call.env, call.arguments[0]));
  const int32_t dtype = js::Js<int32_t>::in(call.env, call.arguments[1]);
  if (dtype < 0 || dtype > static_cast<int32_t>(DType::i32)) fail(code::dtype, "no such element type");
  const View view = shape_from(call.env, call.arguments, 2, call.count, static_cast<DType>(dtype));
  Storage* storage = device.allocate(static_cast<size_t>(view.bytes()));
  const double handle = call.session.add(device, storage, 0, view);
  call.session.report_memory();
  return handle;
}

// alias(handle, first element, ...axes): another handle to the same storage
double alias(Call& call) {
  Slot& slot = call.session.slot(js::Js<double>::in(call.env, call.arguments[0]));
  const double first = js::Js<double>::in(call.env, call.arguments[1]);
  const View view = shape_from(call.env, call.arguments, 2, call.count, slot.view.dtype);
  if (!(first >= 0) || first != std::floor(first) ||
      first + static_cast<double>(view.size()) > static_cast<double>(slot.view.size()))
    fail(code::shape, "the view reaches outside the tensor");
  Device& device = *slot.device;
  Storage* storage = slot.storage;
  const size_t offset = slot.offset + static_cast<size_t>(first) * bytes_of(view.dtype);
  device.retain(storage);
  return call.session.add(device, storage, offset, view);
}

void release(Session& session, napi_env, double handle) {
  session.release(handle);
  session.report_memory();
}

void check_bytes(const Slot& slot, const js::Bytes& bytes, const char* what) {
  if (bytes.size != static_cast<size_t>(slot.view.bytes()))
    fail(code::shape, "%s: the tensor holds %lld bytes, the array %zu", what, static_cast<long long>(slot.view.bytes()),
         bytes.size);
}

void upload(Session& session, napi_env, double handle, js::Bytes bytes) {
  const Slot& slot = session.slot(handle);
  check_bytes(slot, bytes, "write");
  slot.device->upload(slot.storage, slot.offset, bytes.data, bytes.size);
}

// The array must stay alive and unchanged until the ticket ends.
double upload_in_place(Session& session, napi_env, double handle, js::Bytes bytes) {
  const Slot& slot = session.slot(handle);
  check_bytes(slot, bytes, "write");
  return session.with_ticket(
      [&](int64_t ticket) { slot.device->upload_in_place(slot.storage, slot.offset, bytes.data, bytes.size, ticket); });
}

// The array must stay alive until the ticket ends.
double download(Session& session, napi_env, double handle, js::Bytes bytes) {
  const Slot& slot = session.slot(handle);
  check_bytes(slot, bytes, "read");
  slot.device->check_readable();
  return session.with_ticket(
      [&](int64_t ticket) { slot.device->download(slot.storage, slot.offset, bytes.data, bytes.size, ticket); });
}

}  // namespace

void expose_tensors(napi_env env, napi_value exports, Session* session) {
  js::expose(env, exports, "allocate", variadic<allocate>, session);
  js::expose(env, exports, "alias", variadic<alias>, session);
  js::expose(env, exports, "release", js::Bound<release>::call, session);
  js::expose(env, exports, "upload", js::Bound<upload>::call, session);
  js::expose(env, exports, "uploadInPlace", js::Bound<upload_in_place>::call, session);
  js::expose(env, exports, "download", js::Bound<download>::call, session);
}

}  // namespace diffusion
