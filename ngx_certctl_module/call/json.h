
/*
 * JSON in bounded blocks: call/json.c.
 */

#ifndef _NGX_CERTCTL_JSON_H_INCLUDED_
#define _NGX_CERTCTL_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/x509.h>


#define NGX_HTTP_CERTCTL_JSON_BLOCK  32768


typedef struct ngx_http_certctl_json_block_s  ngx_http_certctl_json_block_t;

/* A block, and what NGINX sends it by. */

struct ngx_http_certctl_json_block_s {
    ngx_http_certctl_json_block_t  *next;
    ngx_chain_t                     cl;
    ngx_buf_t                       buf;
    size_t                          len;
    u_char                          data[NGX_HTTP_CERTCTL_JSON_BLOCK];
};

typedef struct {
    ngx_http_certctl_json_block_t  *first;
    ngx_http_certctl_json_block_t  *last;
    size_t                          size;
    unsigned                        comma:1;
    unsigned                        failed:1;    /* no memory */
} ngx_http_certctl_json_t;


/* A value goes to an object under its key, to an array with key NULL. */

void ngx_http_certctl_json_open(ngx_http_certctl_json_t *json,
    const char *key, u_char bracket);
void ngx_http_certctl_json_close(ngx_http_certctl_json_t *json,
    u_char bracket);
void ngx_http_certctl_json_string(ngx_http_certctl_json_t *json,
    const char *key, const u_char *data, size_t len);
void ngx_http_certctl_json_text(ngx_http_certctl_json_t *json,
    const char *key, const char *text);
void ngx_http_certctl_json_number(ngx_http_certctl_json_t *json,
    const char *key, int64_t value);
void ngx_http_certctl_json_flag(ngx_http_certctl_json_t *json,
    const char *key, ngx_uint_t value);
void ngx_http_certctl_json_time(ngx_http_certctl_json_t *json,
    const char *key, time_t when);

/* What data holds; after a failure nothing is written. */
void ngx_http_certctl_json_raw(ngx_http_certctl_json_t *json,
    const u_char *data, size_t len);

void ngx_http_certctl_json_free(ngx_http_certctl_json_t *json);

/* Bytes of the character at p, 0 when it is not UTF-8: then it is written as
   U+FFFD. */
size_t ngx_http_certctl_json_utf8(const u_char *p, size_t len);

#define NGX_HTTP_CERTCTL_NO_UTF8  "\xEF\xBF\xBD"

/* Moves what from holds, and whether it failed, behind what json has. */
void ngx_http_certctl_json_append(ngx_http_certctl_json_t *json,
    ngx_http_certctl_json_t *from);


/* call/x509_json.c */

/* What x509 says of itself; any thread.  fingerprint: SHA-256 in hex. */
void ngx_http_certctl_json_x509(ngx_http_certctl_json_t *json, X509 *x509,
    const char *fingerprint);

/* "pem": x509 and its issuers (NULL: none). */
void ngx_http_certctl_json_pem(ngx_http_certctl_json_t *json, X509 *x509,
    STACK_OF(X509) *issuers);


#endif /* _NGX_CERTCTL_JSON_H_INCLUDED_ */
