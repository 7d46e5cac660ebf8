/*
 * A file that a discovery has found: certificates as PEM, DER or PKCS#12, the
 * keys beside them, and the answer's entry, which is JSON and tells no key.
 */
#include "ngx_shim.h"
#include "discover/read_file.c"
#include "discover/pkcs12.c"
#include "discover/found.c"
#include "call/x509_json.c"
#include "call/json.c"

#include <jansson.h>

static char *
text_of(ngx_http_certctl_json_t *json)
{
    ngx_http_certctl_json_block_t  *block;
    char                           *text = malloc(json->size + 1), *p = text;

    FUZZ_MUST(text != NULL);

    for (block = json->first; block; block = block->next) {
        p = mempcpy(p, block->data, block->len);
    }

    FUZZ_MUST((size_t) (p - text) == json->size);
    *p = '\0';

    return text;
}

static void
entry(ngx_http_certctl_found_t *found, ngx_http_certctl_key_file_t *beside)
{
    static ngx_http_certctl_walk_t   walk;
    static struct stat               st;
    ngx_http_certctl_json_t          json = { .first = NULL };
    json_t                          *got;
    char                            *text;

    walk.json = &json;
    walk.certs = 0;
    memcpy(walk.path, "/fuzz/a.pem", sizeof("/fuzz/a.pem"));
    ngx_http_certctl_discover_entry(&walk, "a.pem", &st, found, beside, 1);
    FUZZ_MUST(walk.certs == (ngx_uint_t) sk_X509_num(found->certs));

    text = text_of(&json);
    got = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    FUZZ_MUST(got != NULL);
    FUZZ_MUST(json_array_size(json_object_get(got, "certificates"))
              == walk.certs);
    FUZZ_MUST(strstr(text, "PRIVATE KEY-") == NULL);

    json_decref(got);
    free(text);
    ngx_http_certctl_json_free(&json);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    ngx_http_certctl_found_t   found = { .format = NULL };
    ngx_http_certctl_key_file_t  beside = { .name = "a.key", .known = 1 };
    uint8_t                   *file = fuzz_copy(data, len);

    FUZZ_MUST(ngx_http_certctl_spki(fuzz_leaf()->key, beside.spki) == NGX_OK);
    ngx_http_certctl_found_certs(&found, file, len);
    FUZZ_MUST(found.keys == 0 && (found.certs == NULL || found.format));

    if (found.certs) {
        found.unknown = 0;
        ngx_http_certctl_found_keys(&found, file, len);
        FUZZ_MUST(found.keys <= NGX_HTTP_CERTCTL_FOUND_KEYS);
        entry(&found, &beside);
    }

    ngx_http_certctl_found_free(&found);

    /* and as a key's file beside others */

    ngx_http_certctl_found_keys(&found, file, len);
    FUZZ_MUST(found.certs == NULL);
    ngx_http_certctl_found_free(&found);

    ERR_clear_error();      /* by call/task.c */
    free(file);

    return 0;
}
