/* One error type for the whole controller. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/*
 * ERR_CODES(X): X(NAME, HTTP status, "title", "problem type", "when").  To add
 * one: add a row; rest/ answers with it, OpenAPI and docs/api.md print it.
 */
#define ERR_CODES(X)                                                          \
    X(NONE, 200, "OK", "ok",                                                  \
      "done")                                                                 \
    X(MALFORMED, 400, "Bad Request", "malformed",                             \
      "the body is not JSON, or the query has an unknown "                    \
      "parameter or a wrong value")                                           \
    X(UNAUTHORIZED, 401, "Unauthorized", "unauthorized",                      \
      "no API key, or an invalid one")                                        \
    X(FORBIDDEN, 403, "Forbidden", "forbidden",                               \
      "the key lacks the route's permission")                                 \
    X(NOT_FOUND, 404, "Not Found", "not_found",                               \
      "the path or id does not exist")                                        \
    X(METHOD, 405, "Method Not Allowed", "method_not_allowed",                \
      "the header Allow lists the methods")                                   \
    X(CONFLICT, 409, "Conflict", "conflict",                                  \
      "the object exists already, is in use (dependants lists by "            \
      "what), or is in a state that does not allow this")                     \
    X(GONE, 410, "Gone", "gone",                                              \
      "the object no longer exists")                                          \
    X(STALE, 412, "Precondition Failed", "stale",                             \
      "the object is not in the state that If-Match names")                   \
    X(TOO_LARGE, 413, "Content Too Large", "too_large",                       \
      "a body over 1 MiB")                                                    \
    X(MEDIA_TYPE, 415, "Unsupported Media Type", "unsupported_media_type",    \
      "a body that is not application/json")                                  \
    X(INVALID, 422, "Unprocessable Content", "invalid",                       \
      "fields are unknown, missing, of a wrong type, or break a "             \
      "rule; errors points to each of them")                                  \
    X(THROTTLED, 429, "Too Many Requests", "throttled",                       \
      "too many failures or requests; Retry-After says when to "              \
      "come again")                                                           \
    X(INTERNAL, 500, "Internal Server Error", "internal",                     \
      "an error in the controller; its log has the reason under "             \
      "request_id")                                                           \
    X(UNSUPPORTED, 501, "Not Implemented", "unsupported",                     \
      "the issuer does not support this operation")                           \
    X(PEER, 502, "Bad Gateway", "peer",                                       \
      "an invalid answer of another server")                                  \
    X(UNAVAILABLE, 503, "Service Unavailable", "unavailable",                 \
      "the database is not reachable; Retry-After says when to "              \
      "come again")                                                           \
    X(TIMEOUT, 504, "Gateway Timeout", "timeout",                             \
      "another server did not answer in time")

enum err {
#define X(name, status, title, type, when)  ERR_ ## name,
    ERR_CODES(X)
#undef X
    ERR__MAX
};

struct error {
    enum err  code;
    char      detail[400];     /* a sentence for the caller; never a secret */
    char      pointer[200];    /* RFC 6901: the field it is about; "" for none */
    char      dependant[130];  /* "certificate mc-a": who is in the way; "" for none */
    char      cause[200];      /* what the log gets besides; "" for nothing */
    int       retry_after;     /* seconds, for THROTTLED and UNAVAILABLE; 0: 1 */
};

extern const struct err_info {
    int          http_status;
    const char  *title;
    const char  *type;
    const char  *when;
} err_infos[ERR__MAX];

/* Fills err, which forgets what it held, and returns false, so that a function
 * can say: return error_set(...). */
bool error_set(struct error *err, enum err code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same about a field: pointer is its RFC 6901 pointer. */
bool error_field(struct error *err, const char *pointer, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* NOT_FOUND: what, as "renewal_policy", in words, and which. */
bool error_not_found(struct error *err, const char *what, const char *id);

/* A name of the tables in words: "renewal_policy" is "renewal policy". */
void error_words(const char *name, char *out, size_t size);

/* Puts "context: " before err's detail and returns false. */
bool error_prefix(struct error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
