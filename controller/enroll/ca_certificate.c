/* The certificate of an issuer's authority, where caIssuers points to (RFC 5280 4.2.2.1). */
#include "enroll.h"
#include "pki_issuer.h"

bool
enroll_ca_certificate(struct request *r)
{
    int                               len;
    const struct pki_issuer          *issuer = pki_issuer_open(r, r->args[0]);
    CLEANUP(ossl_buf) unsigned char  *der = NULL;

    if (issuer == NULL) {
        return false;
    }

    len = i2d_X509(issuer->ca->cert, &der);

    if (len <= 0) {
        return error_set_ossl(&r->err, ERR_INTERNAL, "CA certificate");
    }

    r->content_type = "application/pkix-cert";
    rest_header(r, "Cache-Control", "public, max-age=86400");

    return rest_reply_text(r, (char *) der, (size_t) len);
}
