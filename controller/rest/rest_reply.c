/* Replies: headers that every one carries, errors as JSON, entity tags. */
#include "rest_worker.h"
#include "random.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define ETAG_MAX  (64 * 1024)

static const struct { const char *name, *value; } headers[] = {
    { "X-Content-Type-Options", "nosniff" },
    { "X-Frame-Options", "DENY" },
    { "Referrer-Policy", "no-referrer" },
    { "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'" },
    { "Strict-Transport-Security", "max-age=31536000" },
    { "Cache-Control", "no-cache" },
};

bool
rest_reply_text(struct request *r, const char *text, size_t len)
{
    evbuffer_add(r->out, text, len);

    return true;
}

static int
json_to_buffer(const char *text, size_t len, void *out)
{
    return evbuffer_add(out, text, len);
}

bool
rest_reply_json(struct request *r, const json_t *value)
{
    json_dump_callback(value, json_to_buffer, r->out, JSON_COMPACT);

    return true;
}

static bool
is_field_value(const char *value)
{
    for (const unsigned char *p = (const unsigned char *) value; *p; p++) {
        if ((*p < ' ' && *p != '\t') || *p == 0x7f) {
            return false;
        }
    }

    return true;
}

/* The header of that name, or the place behind the last. */
static size_t
header_place(const struct request *r, const char *name)
{
    size_t  n = 0;

    while (r->headers[n].name && strcasecmp(r->headers[n].name, name) != 0) {
        n++;
    }

    return n;
}

void
rest_header(struct request *r, const char *name, const char *value)
{
    size_t  n = header_place(r, name);

    if (r->headers[n].name) {
        free(r->headers[n].value);
        memmove(&r->headers[n], &r->headers[n + 1],
                (REST_HEADERS_MAX - n) * sizeof(r->headers[0]));
        n = header_place(r, name);
    }

    if (value && n < REST_HEADERS_MAX && is_field_value(value)) {
        r->headers[n] = (struct reply_header) { name, strdup(value) };
    }
}

const char *
rest_reply_header(const struct request *r, const char *name)
{
    return r->headers[header_place(r, name)].value;
}

const char *
rest_request_header(const struct request *r, const char *name)
{
    return message_field(r->message, name);
}

const char *
rest_query(const struct request *r, const char *name)
{
    for (const struct query_arg *arg = r->query; arg->name; arg++) {
        if (strcmp(arg->name, name) == 0) {
            return arg->value;
        }
    }

    return NULL;
}

/* What went wrong inside is for the log, where the request id finds it: hosts
 * and statements are nobody's business. */
static const char *
reply_detail(const struct error *err)
{
    if (err->code == ERR_INTERNAL) {
        return "the server's log has the reason under this request_id";
    }

    return err->code == ERR_UNAVAILABLE && strncmp(err->detail, "database: ", 10) == 0
           ? "the database is not reachable" : err->detail;
}

/* [{"type", "id"}] of "type id". */
static json_t *
reply_dependants(const char *text)
{
    int  len = (int) strcspn(text, " ");

    return text[len] ? json_pack("[{s:s%, s:s}]", "type", text, (size_t) len, "id",
                                 text + len + 1)
                     : NULL;
}

/* RFC 9457 3, with "error" and "message" of the comparable product beside. */
static json_t *
problem_object(struct request *r, const char *detail)
{
    const struct err_info  *info = &err_infos[r->err.code];
    json_t                 *problem, *errors = r->errors;

    if (errors == NULL && r->err.pointer[0]) {
        errors = json_pack("[{s:s, s:s}]", "pointer", r->err.pointer, "detail", detail);
    } else {
        json_incref(errors);
    }

    problem = json_pack("{s:s+, s:s, s:i, s:s*, s:s, s:s, s:s, s:s*, s:o*}",
                        "type", REST_PROBLEMS "/", info->type, "title", info->title,
                        "status", info->http_status, "detail", detail,
                        "instance", r->path, "request_id", r->id, "error", info->title,
                        "message", detail, "errors", errors);
    json_object_set_new(problem, "dependants", reply_dependants(r->err.dependant));

    if (r->problem) {
        json_object_update_missing(problem, r->problem);
    }

    return problem;
}

static void
reply_error(struct request *r)
{
    CLEANUP(json) json_t  *problem = problem_object(r, reply_detail(&r->err));
    char                   seconds[16];

    r->status = err_infos[r->err.code].http_status;
    r->content_type = "application/problem+json";

    if (r->err.code == ERR_UNAVAILABLE || r->err.code == ERR_THROTTLED) {
        snprintf(seconds, sizeof(seconds), "%d", r->err.retry_after ? r->err.retry_after : 1);
        rest_header(r, "Retry-After", seconds);
    }

    rest_header(r, "Location", NULL);
    evbuffer_drain(r->out, evbuffer_get_length(r->out));
    rest_reply_json(r, problem);
}

void
rest_tag(const void *data, size_t len, char out[REST_TAG_MAX])
{
    char  hex[65];

    sha256_hex(data, len, hex);
    snprintf(out, REST_TAG_MAX, "\"%.32s\"", hex);
}

bool
rest_tag_listed(const char *list, const char *tag, bool strong)
{
    size_t  len = strlen(tag);

    if (strcmp(list, "*") == 0) {
        return true;
    }

    for (const char *p = strchr(list, '"'); p; p = strchr(p + 1, '"')) {
        if (strncmp(p, tag, len) == 0
            && !(strong && p >= list + 2 && memcmp(p - 2, "W/", 2) == 0))
        {
            return true;
        }

        p = strchr(p + 1, '"');
        if (p == NULL) {
            break;
        }
    }

    return false;
}

/* A tag that the handler has set stands: it knows without a hash. */
static void
reply_tag(struct request *r)
{
    size_t       len = evbuffer_get_length(r->out);
    const char  *known = rest_request_header(r, "If-None-Match");
    const char  *tag = rest_reply_header(r, "ETag");
    bool         read = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;
    char         made[REST_TAG_MAX];

    if (!r->represents
        && (!read || r->status != 200 || (tag == NULL && len > ETAG_MAX)))
    {
        return;
    }

    if (tag == NULL) {
        rest_tag(evbuffer_pullup(r->out, -1), len, made);
        tag = made;
        rest_header(r, "ETag", tag);
    }

    if (read && known && rest_tag_listed(known, tag, false)) {
        r->status = 304;
        evbuffer_drain(r->out, len);
    }
}

/* RFC 9110 5.6.7 */
static void
reply_date(struct request *r)
{
    char        text[40];
    time_t      now = time(NULL);
    struct tm   tm;

    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    rest_header(r, "Date", text);
}

static void
reply_headers(struct request *r)
{
    char  length[24];

    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        if (rest_reply_header(r, headers[i].name) == NULL) {
            rest_header(r, headers[i].name, headers[i].value);
        }
    }

    rest_header(r, "X-Request-ID", r->id);
    reply_date(r);

    if (r->status == 204 || r->status == 304) {
        return;
    }

    rest_header(r, "Content-Type",
                r->content_type ? r->content_type : "application/json");
    snprintf(length, sizeof(length), "%zu", evbuffer_get_length(r->out));
    rest_header(r, "Content-Length", length);

    /* RFC 9110 9.3.2: the length that a GET would have, and no content. */
    if (strcmp(r->method, "HEAD") == 0) {
        evbuffer_drain(r->out, evbuffer_get_length(r->out));
    }
}

static const char *
reply_phrase(int status)
{
    static const struct { int status; const char *text; } good[] = {
        { 200, "OK" }, { 201, "Created" }, { 202, "Accepted" }, { 204, "No Content" },
        { 304, "Not Modified" },
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (good[i].status == status) {
            return good[i].text;
        }
    }

    for (size_t i = 0; i < ERR__MAX; i++) {
        if (err_infos[i].http_status == status) {
            return err_infos[i].title;
        }
    }

    return "";
}

void
reply_send(struct conn *conn, struct request *r, bool ok, bool close)
{
    CLEANUP(mem) char  *head = NULL;
    size_t              len;
    FILE               *out = open_memstream(&head, &len);

    if (ok) {
        reply_tag(r);
    } else {
        reply_error(r);
    }

    reply_headers(r);

    if (close) {
        rest_header(r, "Connection", "close");
    }

    if (out == NULL) {
        return;
    }

    fprintf(out, "HTTP/1.1 %d %s\r\n", r->status, reply_phrase(r->status));

    for (size_t i = 0; r->headers[i].name; i++) {
        fprintf(out, "%s: %s\r\n", r->headers[i].name, r->headers[i].value);
    }

    fputs("\r\n", out);

    if (fclose(out) == 0) {
        conn_reply(conn, head, len, r->out, close);
    }
}
