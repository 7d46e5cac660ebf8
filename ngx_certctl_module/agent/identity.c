
/*
 * The control listener's own certificate: self-signed at first start, until
 * the controller installs one from its fleet CA.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/x509v3.h>
#include "agent/agent.h"
#include "cert/self_signed.h"
#include "x509_key.h"
#include "x509_leaf.h"


#define NGX_HTTP_CERTCTL_IDENTITY_LIFE  (10 * 365 * 86400L)


static X509 *
ngx_http_certctl_identity_sign(EVP_PKEY *key)
{
    char  host[256], san[sizeof(host) + sizeof("DNS:")];

    const ngx_certctl_extension_t    extensions[] = {
        { "basicConstraints", "critical,CA:FALSE" },
        { "keyUsage", "critical,digitalSignature" },
        { "extendedKeyUsage", "serverAuth" },
        { "subjectAltName", san },
        { NULL, NULL }
    };

    const ngx_certctl_self_signed_t  form = {
        CERTCTL_AGENT_CN, 300, NGX_HTTP_CERTCTL_IDENTITY_LIFE,
        extensions
    };

    if (gethostname(host, sizeof(host)) == -1) {
        host[0] = '\0';
    }

    host[sizeof(host) - 1] = '\0';
    (void) ngx_sprintf((u_char *) san, "DNS:%s%Z", host);

    if (certctl_sans_check(san) != NULL) {
        ngx_memcpy(san, "DNS:" CERTCTL_AGENT_CN,
                   sizeof("DNS:" CERTCTL_AGENT_CN));
    }

    return ngx_certctl_self_signed(key, &form);
}


static int
ngx_http_certctl_identity_put(certctl_store_t *store, X509 *cert,
    EVP_PKEY *key)
{
    int                   rc, len, key_len;
    uint64_t              generation;
    certctl_record_t      record;
    struct certctl_leaf   leaf;

    ngx_memzero(&record, sizeof(certctl_record_t));

    rc = CERTCTL_STORE_ERROR;
    len = i2d_X509(cert, &record.chain.data);
    key_len = certctl_key_to_der(key, &record.key.data);

    record.chain.len = ngx_max(len, 0);
    record.key.len = ngx_max(key_len, 0);

    if (len > 0 && key_len > 0 && certctl_leaf_of(cert, &leaf) == NULL) {
        certctl_record_fill(&record, CERTCTL_WIRE_IDENTITY, &leaf);

        rc = certctl_store_put(store, &record, &generation, NULL, NULL);
        certctl_leaf_free(&leaf);
    }

    OPENSSL_free(record.chain.data);
    OPENSSL_clear_free(record.key.data, record.key.len);

    return rc;
}


static void
ngx_http_certctl_identity_make(ngx_http_certctl_main_conf_t *mcf,
    ngx_log_t *log)
{
    X509      *cert;
    EVP_PKEY  *key;

    key = certctl_key_generate("ec-p256");
    cert = key ? ngx_http_certctl_identity_sign(key) : NULL;

    if (cert && ngx_http_certctl_identity_put(mcf->certctl.store, cert, key)
                == CERTCTL_STORE_OK)
    {
        ngx_certctl_invalidate(CERTCTL_WIRE_IDENTITY, &mcf->certctl);

    } else {
        ngx_ssl_error(NGX_LOG_ALERT, log, ngx_errno,
                      "certctl: creating the control listener's certificate "
                      "failed");
    }

    X509_free(cert);
    EVP_PKEY_free(key);
}


/* The fingerprint of the stored identity; a code of the store. */

static int
ngx_http_certctl_identity_read(certctl_store_t *store, char *fingerprint)
{
    int                   rc;
    certctl_record_t      record;
    struct certctl_leaf   leaf;

    rc = certctl_store_read(store, CERTCTL_WIRE_IDENTITY, &record);

    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    if (certctl_leaf_read(record.chain.data, record.chain.len, &leaf) == NULL) {
        certctl_hex(leaf.digest, sizeof(leaf.digest), fingerprint);
        certctl_leaf_free(&leaf);

    } else {
        rc = CERTCTL_STORE_ERROR;
    }

    certctl_record_free(&record);

    return rc;
}


void
ngx_http_certctl_agent_start(ngx_http_certctl_main_conf_t *mcf, ngx_log_t *log)
{
    int               rc;
    char              fingerprint[CERTCTL_HEX256];
    certctl_store_t  *store;

    store = mcf->certctl.store;

    /* what is configured may have changed: a report of before is old */

    (void) ngx_atomic_fetch_add(&mcf->certctl.zone->generation, 1);

    rc = ngx_http_certctl_identity_read(store, fingerprint);

    if (rc == CERTCTL_STORE_NOT_FOUND || rc == CERTCTL_STORE_DAMAGED) {
        ngx_http_certctl_identity_make(mcf, log);
        rc = ngx_http_certctl_identity_read(store, fingerprint);
    }

    if (rc != CERTCTL_STORE_OK) {

        /* the sites are worth more than the control listener: go on */

        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      "certctl: the record of the control listener's "
                      "certificate cannot be read: repair the store");
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, log, 0,
                  "certctl: the control listener's certificate has the "
                  "fingerprint sha256:%s", fingerprint);

    if (ngx_http_certctl_agent_fingerprint((char *) mcf->store_path.data,
                                           fingerprint)
        == -1)
    {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "certctl: \"%V/%s\" could not be written",
                      &mcf->store_path, NGX_HTTP_CERTCTL_FINGERPRINT_FILE);
    }
}
