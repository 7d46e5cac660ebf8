
/* What a certificate says of itself, as members of a JSON object. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "call/call.h"
#include "x509_chain.h"
#include "x509_info.h"


/* RFC 4514 text of a distinguished name; longer ones are left out. */
#define NGX_HTTP_CERTCTL_DN_MAX  1024


static bool
ngx_http_certctl_json_san(const char *kind, const char *text, void *data)
{
    u_char  san[CERTCTL_NAME_MAX + sizeof("email:") + 256], *last;

    last = ngx_snprintf(san, sizeof(san), "%s:%s", kind, text);
    ngx_http_certctl_json_string(data, NULL, san, last - san);

    return true;
}


void
ngx_http_certctl_json_x509(ngx_http_certctl_json_t *json, X509 *x509,
    const char *fingerprint)
{
    char                      dn[NGX_HTTP_CERTCTL_DN_MAX];
    struct certctl_x509_info  info;

    ngx_http_certctl_json_text(json, "fingerprint", fingerprint);

    if (certctl_x509_info(x509, &info) == NULL) {
        ngx_http_certctl_json_text(json, "spki", info.spki);
        ngx_http_certctl_json_text(json, "serial", info.serial);
        ngx_http_certctl_json_time(json, "not_before", info.not_before);
        ngx_http_certctl_json_time(json, "not_after", info.not_after);
        ngx_http_certctl_json_text(json, "key_type", info.key_type);
        ngx_http_certctl_json_number(json, "key_bits", info.key_bits);
        ngx_http_certctl_json_flag(json, "is_ca", info.is_ca);
        ngx_http_certctl_json_flag(json, "must_staple", info.must_staple);
    }

    if (certctl_x509_subject(x509, dn, sizeof(dn))) {
        ngx_http_certctl_json_text(json, "subject", dn);
    }

    if (certctl_x509_issuer(x509, dn, sizeof(dn))) {
        ngx_http_certctl_json_text(json, "issuer", dn);
    }

    ngx_http_certctl_json_open(json, "sans", '[');
    (void) certctl_x509_each_san(x509, ngx_http_certctl_json_san, json);
    ngx_http_certctl_json_close(json, ']');
}


void
ngx_http_certctl_json_pem(ngx_http_certctl_json_t *json, X509 *x509,
    STACK_OF(X509) *issuers)
{
    char            *pem;
    STACK_OF(X509)  *chain;

    chain = issuers ? sk_X509_dup(issuers) : sk_X509_new_null();
    pem = (chain && sk_X509_unshift(chain, x509))
          ? certctl_chain_to_pem(chain) : NULL;

    if (pem) {
        ngx_http_certctl_json_text(json, "pem", pem);

    } else {
        json->failed = 1;
    }

    OPENSSL_free(pem);
    sk_X509_free(chain);
}
