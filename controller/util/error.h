/* One error type for the whole controller. */
#pragma once
#include <stdbool.h>

/*
 * ERR_CODES(X): X(NAME, HTTP status, "title", "problem type"). To add one: add
 * a row; rest/ answers with it, OpenAPI and docs/api.md print it.
 */
#define ERR_CODES(X)                                                          \
    X(NONE,         200, "OK",                     "ok")                      \
    X(MALFORMED,    400, "Bad Request",            "malformed")               \
    X(UNAUTHORIZED, 401, "Unauthorized",           "unauthorized")            \
    X(FORBIDDEN,    403, "Forbidden",              "forbidden")               \
    X(NOT_FOUND,    404, "Not Found",              "not_found")               \
    X(METHOD,       405, "Method Not Allowed",     "method_not_allowed")      \
    X(CONFLICT,     409, "Conflict",               "conflict")                \
    X(GONE,         410, "Gone",                   "gone")                    \
    X(TOO_LARGE,    413, "Content Too Large",      "too_large")               \
    X(MEDIA_TYPE,   415, "Unsupported Media Type", "unsupported_media_type")  \
    X(INVALID,      422, "Unprocessable Content",  "invalid")                 \
    X(THROTTLED,    429, "Too Many Requests",      "throttled")               \
    X(INTERNAL,     500, "Internal Server Error",  "internal")                \
    X(UNSUPPORTED,  501, "Not Implemented",        "unsupported")             \
    X(PEER,         502, "Bad Gateway",            "peer")                    \
    X(UNAVAILABLE,  503, "Service Unavailable",    "unavailable")             \
    X(TIMEOUT,      504, "Gateway Timeout",        "timeout")

enum err {
#define X(name, status, title, type)  ERR_ ## name,
    ERR_CODES(X)
#undef X
    ERR__MAX
};

struct error {
    enum err  code;
    char      detail[400];     /* a sentence for the caller; never a secret */
};

extern const struct err_info {
    int          http_status;
    const char  *title;
    const char  *type;
} err_infos[ERR__MAX];

/* Fills err and returns false, so that a function can say: return error_set(...). */
bool error_set(struct error *err, enum err code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before err's detail and returns false. */
bool error_prefix(struct error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
