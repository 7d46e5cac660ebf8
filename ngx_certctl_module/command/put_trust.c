
/*
 * PUT trust: the CAs whose clients may command this host, beside those of
 * certctl_trust's file.  A controller sends the next CA before it uses it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/x509v3.h>
#include "command/command.h"
#include "tls/trust.h"
#include "x509_pem.h"
#include "x509_read.h"
#include "x509_rule.h"


static const char *
ngx_http_certctl_trust_rule(int i, const struct certctl_pem_block *block)
{
    X509          *cert;
    const char    *rule;
    const u_char  *p;

    p = block->der;
    cert = certctl_x509_read(&p, block->len);

    if (cert == NULL) {
        return certctl_rule("certificate %d of the set cannot be read", i + 1);
    }

    rule = NULL;

    if (X509_check_ca(cert) != 1 || X509_self_signed(cert, 1) != 1) {
        rule = certctl_rule("certificate %d of the set is not the self-signed "
                            "certificate of a CA (RFC 5280 6.1)", i + 1);
    }

    X509_free(cert);
    ERR_clear_error();

    return rule;
}


/* Writes the DER of all to the place of their PEM, which is longer.  NULL, or
   the rule that one of them breaks. */

static const char *
ngx_http_certctl_trust_set(const struct certctl_pem_bundle *bundle, u_char *p,
    certctl_blob_t *ret)
{
    int          i;
    const char  *rule;

    if (bundle->key.der || bundle->staple.der) {
        return "the set must have certificates only";
    }

    if (bundle->count == 0 || bundle->count > NGX_CERTCTL_TRUST_MAX) {
        return certctl_rule("the set must have 1 to %d certificates",
                            NGX_CERTCTL_TRUST_MAX);
    }

    ret->data = p;

    for (i = 0; i < bundle->count; i++) {
        rule = ngx_http_certctl_trust_rule(i, &bundle->certs[i]);

        if (rule) {
            return rule;
        }

        p = ngx_cpymem(p, bundle->certs[i].der, bundle->certs[i].len);
    }

    ret->len = p - ret->data;

    return NULL;
}


static void
ngx_http_certctl_trust_put(ngx_http_certctl_call_t *call,
    const certctl_blob_t *cas, int n)
{
    int             rc;
    uint64_t        generation;
    ngx_certctl_t  *certctl;

    certctl = &call->mcf->certctl;

    rc = certctl_store_trust_put(certctl->store, cas, &generation);

    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_request_store_error(call, rc);
        return;
    }

    (void) ngx_atomic_fetch_add(&certctl->zone->trusts, 1);

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "certctl: %d CAs of controllers are trusted, beside "
                  "certctl_trust", n);

    ngx_http_certctl_answer_open(call);
    ngx_http_certctl_json_number(&call->json, "generation", generation);
    ngx_http_certctl_json_number(&call->json, "certificates", n);
    ngx_http_certctl_json_close(&call->json, '}');
}


void
ngx_http_certctl_request_put_trust(ngx_http_certctl_call_t *call)
{
    const char                 *rule;
    certctl_blob_t              cas;
    struct certctl_pem_bundle   bundle;

    if (call->mcf->certctl.trust == NULL) {
        ngx_http_certctl_request_error(call, NGX_HTTP_CONFLICT,
               "certctl_trust is not set: no client with a certificate may "
               "command this host");
        return;
    }

    rule = certctl_pem_bundle((char *) call->body, call->body_len, &bundle);

    if (rule == NULL) {
        rule = ngx_http_certctl_trust_set(&bundle, call->body, &cas);
    }

    if (rule) {
        ngx_http_certctl_request_error(call, 422, rule);

    } else {
        ngx_http_certctl_trust_put(call, &cas, bundle.count);
    }

    certctl_pem_bundle_free(&bundle);
}
