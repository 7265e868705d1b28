// Values that cross between JavaScript and C++, one trait a type, and functions exposed by their own signature.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <string>
#include <utility>

#include "core/error.h"

namespace diffusion {

class Session;

namespace js {

inline void ok(napi_env, napi_status status) {
  if (status != napi_ok) fail(code::option, "a Node-API call failed with status %d", static_cast<int>(status));
}

// The memory behind a typed array.
struct Bytes {
  void* data;
  size_t size;
  napi_typedarray_type type;
};

template <class T>
struct Js;

template <>
struct Js<double> {
  static double in(napi_env env, napi_value value) {
    double number;
    if (napi_get_value_double(env, value, &number) != napi_ok) fail(code::option, "expected a number");
    return number;
  }
  static napi_value out(napi_env env, double number) {
    napi_value value;
    ok(env, napi_create_double(env, number, &value));
    return value;
  }
};
template <>
struct Js<float> {
  static float in(napi_env env, napi_value value) { return static_cast<float>(Js<double>::in(env, value)); }
};
template <>
struct Js<int32_t> {
  static int32_t in(napi_env env, napi_value value) {
    const double number = Js<double>::in(env, value);
    if (!(number >= -2147483648.0 && number <= 2147483647.0) || number != static_cast<int32_t>(number))
      fail(code::option, "expected a 32-bit integer");
    return static_cast<int32_t>(number);
  }
};
template <>
struct Js<bool> {
  static bool in(napi_env env, napi_value value) {
    bool flag;
    if (napi_get_value_bool(env, value, &flag) != napi_ok) fail(code::option, "expected a boolean");
    return flag;
  }
};
template <>
struct Js<std::string> {
  static std::string in(napi_env env, napi_value value) {
    size_t length;
    if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) fail(code::option, "expected a string");
    std::string text(length, '\0');
    ok(env, napi_get_value_string_utf8(env, value, text.data(), length + 1, &length));
    return text;
  }
  static napi_value out(napi_env env, const std::string& text) {
    napi_value value;
    ok(env, napi_create_string_utf8(env, text.data(), text.size(), &value));
    return value;
  }
};
template <>
struct Js<Bytes> {
  static Bytes in(napi_env env, napi_value value) {
    bool typed;
    ok(env, napi_is_typedarray(env, value, &typed));
    if (!typed) fail(code::option, "expected a typed array");
    Bytes bytes{};
    size_t length;
    ok(env, napi_get_typedarray_info(env, value, &bytes.type, &length, &bytes.data, nullptr, nullptr));
    constexpr size_t kElement[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
    if (static_cast<size_t>(bytes.type) >= std::size(kElement)) fail(code::option, "unsupported typed array");
    bytes.size = length * kElement[bytes.type];
    return bytes;
  }
};
template <>
struct Js<napi_value> {
  static napi_value in(napi_env, napi_value value) { return value; }
  static napi_value out(napi_env, napi_value value) { return value; }
};

inline void set(napi_env env, napi_value object, const char* key, napi_value value) {
  ok(env, napi_set_named_property(env, object, key, value));
}

// The one place where a C++ exception becomes a JavaScript one.
napi_value raise(napi_env env, Session& session, const std::exception& error);

// Exposes Function(Session&, napi_env, arguments…).
template <auto Function>
struct Bound;
template <class R, class... A, R (*Function)(Session&, napi_env, A...)>
struct Bound<Function> {
  static napi_value call(napi_env env, napi_callback_info info) {
    napi_value arguments[sizeof...(A) + 1];
    size_t count = sizeof...(A);
    void* session = nullptr;
    napi_get_cb_info(env, info, &count, arguments, nullptr, &session);
    return run(env, *static_cast<Session*>(session), count, arguments, std::index_sequence_for<A...>{});
  }
  template <size_t... I>
  static napi_value run(napi_env env, Session& session, size_t count, [[maybe_unused]] napi_value* arguments,
                        std::index_sequence<I...>) try {
    if (count < sizeof...(A)) fail(code::option, "expected %zu arguments, got %zu", sizeof...(A), count);
    if constexpr (std::is_void_v<R>) {
      Function(session, env, Js<A>::in(env, arguments[I])...);
      return nullptr;
    } else {
      return Js<R>::out(env, Function(session, env, Js<A>::in(env, arguments[I])...));
    }
  } catch (const std::exception& error) {
    return raise(env, session, error);
  }
};

void expose(napi_env env, napi_value exports, const char* name, napi_callback callback, Session* session);

}  // namespace js
}  // namespace diffusion
