/*
 * A file that a discovery has found: certificates as PEM, DER or PKCS#12, the
 * keys beside them, and the answer's entry, which is JSON and tells no key.
 */
#include "ngx_shim.h"
#include "discover/read_file.c"
#include "discover/pkcs12.c"
#include "discover/file_json.c"
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
entry(ngx_http_certctl_file_t *file, ngx_http_certctl_key_t *beside)
{
    static ngx_http_certctl_scan_t   scan;
    ngx_http_certctl_json_t          json = { .first = NULL };
    json_t                          *got;
    char                            *text;

    scan.json = &json;
    scan.certs = 0;
    memcpy(scan.path, "/fuzz/a.pem", sizeof("/fuzz/a.pem"));
    ngx_http_certctl_file_json(&scan, file, beside, 1);
    FUZZ_MUST(scan.certs == (ngx_uint_t) sk_X509_num(file->certs));

    text = text_of(&json);
    got = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    FUZZ_MUST(got != NULL);
    FUZZ_MUST(json_array_size(json_object_get(got, "certificates"))
              == scan.certs);
    FUZZ_MUST(strstr(text, "PRIVATE KEY-") == NULL);

    json_decref(got);
    free(text);
    ngx_http_certctl_json_free(&json);
}

/* Its data stays the fuzzer's, which has no byte more. */
static void
take(ngx_http_certctl_file_t *file, uint8_t *data, size_t len)
{
    *file = (ngx_http_certctl_file_t) {
        .name = "a.pem", .st = { .st_size = len }, .data = data
    };
}

static void
release(ngx_http_certctl_file_t *file)
{
    file->data = NULL;
    ngx_http_certctl_file_free(file);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    ngx_http_certctl_file_t  file;
    ngx_http_certctl_key_t   beside = { .name = "a.key", .known = 1 };
    uint8_t                 *copy = fuzz_copy(data, len);

    FUZZ_MUST(ngx_http_certctl_spki(fuzz_leaf()->key, beside.spki) == NGX_OK);
    take(&file, copy, len);
    ngx_http_certctl_file_parse(&file, 0);
    FUZZ_MUST(file.keys == 0 && (file.certs == NULL || file.format));

    if (file.certs) {
        ngx_http_certctl_file_parse(&file, 1);
        FUZZ_MUST(file.keys <= NGX_HTTP_CERTCTL_FILE_KEYS + 1);
        entry(&file, &beside);
    }

    release(&file);

    /* and as a key's file beside others */

    take(&file, copy, len);
    ngx_http_certctl_file_parse(&file, 1);
    FUZZ_MUST(file.certs == NULL);
    release(&file);

    ERR_clear_error();      /* by call/task.c */
    free(copy);

    return 0;
}
