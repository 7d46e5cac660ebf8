/* Reads times, serial, digests, names and flags out of a certificate. */
#include "x509_info.h"
#include "x509_key.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#define TLS_FEATURE_STATUS_REQUEST  5     /* RFC 7633 section 6, RFC 6066 */


void
certctl_hex(const unsigned char *in, size_t n, char *out)
{
    static const char  digits[] = "0123456789abcdef";
    size_t             i;

    for (i = 0; i < n; i++) {
        *out++ = digits[in[i] >> 4];
        *out++ = digits[in[i] & 15];
    }

    *out = '\0';
}


static bool
read_time(const ASN1_TIME *at, time_t *ret)
{
    struct tm  tm;

    if (!ASN1_TIME_to_tm(at, &tm)) {
        return false;
    }

    *ret = timegm(&tm);

    return true;
}


static bool
read_serial(X509 *cert, char *out, size_t size)
{
    const ASN1_INTEGER   *serial = X509_get0_serialNumber(cert);
    const unsigned char  *data = ASN1_STRING_get0_data(serial);
    size_t                len = ASN1_STRING_length(serial);

    if (len == 0 || len > (size - 1) / 2) {
        return false;
    }

    certctl_hex(data, len, out);

    return true;
}


static bool
read_spki(X509 *cert, char *out)
{
    unsigned char   md[EVP_MAX_MD_SIZE], *der = NULL;
    unsigned int    n;
    int             len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    bool            good;

    good = len > 0 && EVP_Digest(der, len, md, &n, EVP_sha256(), NULL);
    OPENSSL_free(der);

    if (good) {
        certctl_hex(md, n, out);
    }

    return good;
}


/* RFC 7633: the client must hang up when such a certificate is not stapled. */
static bool
read_must_staple(X509 *cert)
{
    STACK_OF(ASN1_INTEGER)  *features;
    bool                     found = false;
    int                      i;

    features = X509_get_ext_d2i(cert, NID_tlsfeature, NULL, NULL);

    for (i = 0; i < sk_ASN1_INTEGER_num(features); i++) {
        found |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i))
                 == TLS_FEATURE_STATUS_REQUEST;
    }

    sk_ASN1_INTEGER_pop_free(features, ASN1_INTEGER_free);

    return found;
}


static void
read_key(X509 *cert, struct certctl_x509_info *ret)
{
    const EVP_PKEY  *key = X509_get0_pubkey(cert);
    const char      *type = key ? certctl_key_type(key) : "other";

    memcpy(ret->key_type, type, strlen(type) + 1);
    ret->key_bits = key ? EVP_PKEY_get_bits(key) : 0;
}


static const char *
read_info(X509 *cert, struct certctl_x509_info *ret)
{
    uint32_t  flags = X509_get_extension_flags(cert);

    if (!read_time(X509_get0_notBefore(cert), &ret->not_before)
        || !read_time(X509_get0_notAfter(cert), &ret->not_after))
    {
        return "the validity is not a valid time (RFC 5280 4.1.2.5)";
    }

    if (!read_serial(cert, ret->serial, sizeof(ret->serial))) {
        return "the serial number is too long (RFC 5280 4.1.2.2)";
    }

    if (!X509_digest(cert, EVP_sha256(), ret->digest, NULL)
        || !read_spki(cert, ret->spki))
    {
        return "the certificate could not be hashed";
    }

    certctl_hex(ret->digest, sizeof(ret->digest), ret->fingerprint);
    read_key(cert, ret);
    ret->is_ca = flags & EXFLAG_CA;
    ret->self_issued = flags & EXFLAG_SI;
    ret->must_staple = read_must_staple(cert);

    return NULL;
}


const char *
certctl_x509_info(X509 *cert, struct certctl_x509_info *ret)
{
    struct certctl_x509_info  info;
    const char               *why;

    ERR_set_mark();
    why = read_info(cert, &info);
    ERR_pop_to_mark();

    if (why == NULL) {
        *ret = info;
    }

    return why;
}


/* RFC 4514 wants UTF-8; other bytes and controls are escaped by OpenSSL. */
static bool
print_name(const X509_NAME *name, char *out, size_t size)
{
    BIO   *bio = BIO_new(BIO_s_mem());
    char  *text;
    long   len = -1;

    ERR_set_mark();

    if (bio != NULL
        && X509_NAME_print_ex(bio, name, 0,
                              XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0)
    {
        len = BIO_get_mem_data(bio, &text);
    }

    if (len >= 0 && (size_t) len < size) {
        if (len > 0) {
            memcpy(out, text, len);         /* an empty name has no text */
        }

        out[len] = '\0';

    } else {
        len = -1;
    }

    BIO_free(bio);
    ERR_pop_to_mark();

    return len >= 0;
}


bool
certctl_x509_subject(X509 *cert, char *out, size_t size)
{
    return print_name(X509_get_subject_name(cert), out, size);
}


bool
certctl_x509_issuer(X509 *cert, char *out, size_t size)
{
    return print_name(X509_get_issuer_name(cert), out, size);
}


void
certctl_x509_common_name(X509 *cert, char *out, size_t size)
{
    const X509_NAME  *subject = X509_get_subject_name(cert);
    unsigned char    *text = NULL;
    int               at, len = -1;

    out[0] = '\0';
    ERR_set_mark();

    at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

    if (at >= 0) {
        len = ASN1_STRING_to_UTF8(&text,
                  X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    }

    if (len > 0 && (size_t) len < size && !memchr(text, '\0', len)) {
        memcpy(out, text, len);
        out[len] = '\0';
    }

    OPENSSL_free(text);
    ERR_pop_to_mark();
}


void
certctl_x509_ocsp_url(X509 *cert, char *out, size_t size)
{
    STACK_OF(OPENSSL_STRING)  *urls;
    const char                *url;

    out[0] = '\0';
    ERR_set_mark();

    urls = X509_get1_ocsp(cert);
    url = sk_OPENSSL_STRING_num(urls) > 0 ? sk_OPENSSL_STRING_value(urls, 0)
                                          : "";

    if (strlen(url) < size) {
        memcpy(out, url, strlen(url) + 1);
    }

    X509_email_free(urls);
    ERR_pop_to_mark();
}
