/*
 * JSON bodies against the field tables of all routes: the first byte chooses
 * the table, the second whether the body creates or changes (1: nothing, 4:
 * what was not set before, 8: an object with a configuration), and whether what
 * follows is JSON or (2) says how to make values for fields of the table, so
 * that mutations reach the rules behind the names.
 */
#include "fuzz.h"
#include "resource.h"
#include "rest_body.h"
#include "rest_message.h"
#include "routes.h"


static const struct route *
choose(unsigned n)
{
    static const struct route  *bodies[256];
    static unsigned             count;

    if (count == 0) {
        for (const struct route *r = routes; r->path; r++) {
            const struct resource  *res = r->data;

            if (res && res->fields && strcmp(r->method, "GET") != 0) {
                bodies[count++] = r;
            }
        }
    }

    return bodies[n % count];
}

/* A value by its letter: a number, a word, a time or a text of at most 15. */
static json_t *
value(const uint8_t **p, const uint8_t *end, const struct field *f, int depth)
{
    const struct field  *of = f->of ? f->of : f;
    json_t              *v;
    uint8_t              kind = end > *p ? *(*p)++ : 0;
    int64_t              n = 0;
    size_t               len = kind >> 4;

    len = len > (size_t) (end - *p) ? (size_t) (end - *p) : len;
    memcpy(&n, *p, len > 8 ? 8 : len);

    switch (kind & (depth < 3 ? 7 : 3)) {
    case 0:
        v = json_integer(n);
        break;
    case 1:
        v = len & 1 ? json_true() : json_null();
        break;
    case 2:
        v = f->allowed ? json_stringn(f->allowed, strcspn(f->allowed, " "))
                       : json_string("2026-01-31T00:00:00Z");
        break;
    case 4:
    case 5:
        for (v = json_array(); len > 0; len--) {
            json_array_append_new(v, value(p, end, of, depth + 1));
        }
        return v;
    case 6:
    case 7:
        for (v = json_object(); len > 0; len--) {
            json_object_set_new(v, of->name, value(p, end, of, depth + 1));
            of += of[1].name != NULL;
        }
        return v;
    default:
        v = json_stringn((const char *) *p, len);
    }

    *p += len;

    return v ? v : json_null();
}

static char *
build(const uint8_t *p, const uint8_t *end, const struct field *fields)
{
    json_t              *body = json_object();
    char                *text;
    const struct field  *f;
    size_t               n;

    for (n = 0; fields[n].name; n++) { }

    while (p < end) {
        f = &fields[*p++ % n];
        json_object_set_new(body, f->name, value(&p, end, f, 0));
    }

    text = json_dumps(body, JSON_COMPACT);
    json_decref(body);

    return text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct message    message;
    char                    *text = NULL;
    struct request           r = { 0 };
    const struct resource   *res;
    json_t                  *nothing = json_object();
    json_t                  *something = json_pack("{s:s s:s s:{s:s s:s} s:{s:s} s:[s] s:i s:i}",
                                                   "id", "x", "type", "nginx", "config",
                                                   "cert_path", "/a", "key_path", "/b",
                                                   "tags", "a", "b", "sans", "a.example.com",
                                                   "max_ttl_seconds", 60,
                                                   "max_validity_days", 0);
    bool                     ok;

    if (len < 2) {
        json_decref(nothing);
        json_decref(something);
        return 0;
    }

    r.route = choose(data[0]);
    r.method = r.route->method;
    res = r.route->data;
    message.fields[0] = (struct message_field) { "Content-Type", "application/json" };
    message.n = 1;
    r.message = &message;

    if (data[1] & 2) {
        text = build(data + 2, data + len, res->fields);
        FUZZ_MUST(text != NULL);
    }

    message.body.bytes = text ? text : fuzz_text(data + 2, len - 2);
    message.body.len = text ? strlen(text) : len - 2;

    ok = body_read(&r);

    if (ok && r.body) {
        ok = resource_check(&r, res->fields, data[1] & 1 ? r.body : data[1] & 4 ? nothing
                                             : data[1] & 8 ? something : NULL);
    }

    json_decref(nothing);
    json_decref(something);

    FUZZ_MUST(ok || (r.err.code != ERR_NONE && r.err.code != ERR_INTERNAL
                     && *r.err.detail));
    json_decref(r.body);
    json_decref(r.errors);
    free(message.body.bytes);

    return 0;
}
