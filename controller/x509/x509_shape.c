/*
 * The usual shape of a TLS server's certificate. OpenSSL's own reading of one costs
 * a quarter of a millisecond, most of it for the setting up of a decoder for its
 * public key, and a fleet's certificates are all alike.
 */
#include "x509_shape.h"

#define SERIAL_MAX      20          /* RFC 5280 4.1.2.2 */
#define EXTENSIONS_MAX  32
#define URL_MAX         255

#define RSA_OCTETS_MIN       256
#define RSA_OCTETS_MAX       1024
#define EXPONENT_OCTETS_MAX  8

#define KU_DIGITAL_SIGNATURE  0x80  /* RFC 5280 4.2.1.3, first octet */

static const struct shape_signature  signatures[] = {
    /* ecdsa-with-SHA256, -SHA384, -SHA512 */
    { { 0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2 }, 12,
      EVP_PKEY_EC, EVP_sha256 },
    { { 0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3 }, 12,
      EVP_PKEY_EC, EVP_sha384 },
    { { 0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4 }, 12,
      EVP_PKEY_EC, EVP_sha512 },
    /* sha256-, sha384-, sha512WithRSAEncryption */
    { { 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 11, 5, 0 }, 15,
      EVP_PKEY_RSA, EVP_sha256 },
    { { 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 12, 5, 0 }, 15,
      EVP_PKEY_RSA, EVP_sha384 },
    { { 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 13, 5, 0 }, 15,
      EVP_PKEY_RSA, EVP_sha512 },
};

static const struct shape_key  keys[] = {
    /* P-256, P-384, rsaEncryption, Ed25519 */
    { { 0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1,
        6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 }, 21,
      EVP_PKEY_EC, 65, 256 },
    { { 0x30, 16, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1,
        6, 5, 0x2b, 0x81, 4, 0, 34 }, 18,
      EVP_PKEY_EC, 97, 384 },
    { { 0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0 }, 15,
      EVP_PKEY_RSA, 0, 0 },
    { { 0x30, 5, 6, 3, 0x2b, 0x65, 0x70 }, 7,
      EVP_PKEY_ED25519, 32, 0 },
};

static const unsigned char  version_3[] = { 2, 1, 2 };
static const unsigned char  yes[] = { 0xff };
static const unsigned char  server_auth[] = { 0x2b, 6, 1, 5, 5, 7, 3, 1 };


/* basicConstraints of no CA: the default is not written (4.2.1.9). */
static bool
read_constraints(struct der value, struct shape *ret)
{
    struct der  none;

    (void) ret;

    return der_take(&value, TAG_SEQUENCE, &none) && !der_left(&none)
           && !der_left(&value);
}


static bool
read_key_usage(struct der value, struct shape *ret)
{
    unsigned    bits;
    struct der  usage;

    (void) ret;

    if (!der_take(&value, TAG_BIT_STRING, &usage) || der_left(&value)
        || (der_left(&usage) != 2 && der_left(&usage) != 3) || usage.p[0] > 7)
    {
        return false;
    }

    /* the first octet says how many bits of the last one do not count */

    bits = usage.p[1] & (der_left(&usage) == 2 ? 0xff << usage.p[0] : 0xff);

    return bits & KU_DIGITAL_SIGNATURE;
}


/* Not only no arc that is cut off: none that is longer than it must be. */
static bool
is_oid(struct der oid)
{
    const unsigned char  *p;

    if (der_left(&oid) == 0 || oid.end[-1] & 0x80) {
        return false;
    }

    for (p = oid.p; p < oid.end; p++) {
        if (*p == 0x80 && (p == oid.p || !(p[-1] & 0x80))) {
            return false;
        }
    }

    return true;
}


static bool
read_purposes(struct der value, struct shape *ret)
{
    bool        server = false;
    struct der  list, oid;

    (void) ret;

    if (!der_take(&value, TAG_SEQUENCE, &list) || der_left(&value)) {
        return false;
    }

    while (der_left(&list)) {
        if (!der_take(&list, TAG_OID, &oid) || !is_oid(oid)) {
            return false;
        }

        server |= der_is(&oid, server_auth, sizeof(server_auth));
    }

    return server;
}


static bool
read_names(struct der value, struct shape *ret)
{
    struct der  whole = value, names;

    ret->san = whole;

    return der_take(&value, TAG_SEQUENCE, &names) && !der_left(&value);
}


static bool
read_key_id(struct der value, struct shape *ret)
{
    (void) ret;

    return der_skip(&value, TAG_OCTETS) && !der_left(&value);
}


/* The issuer's key identifier alone: few CAs name their issuer, too. */
static bool
read_authority(struct der value, struct shape *ret)
{
    struct der  list;

    return der_take(&value, TAG_SEQUENCE, &list) && !der_left(&value)
           && der_take(&list, TAG_IMPLICIT(0), &ret->akid) && !der_left(&list);
}


/* Points with nothing but URIs (4.2.1.13). */
static bool
read_crls(struct der value, struct shape *ret)
{
    struct der  list, point, name, full, uri;

    (void) ret;

    if (!der_take(&value, TAG_SEQUENCE, &list) || der_left(&value)) {
        return false;
    }

    while (der_left(&list)) {
        if (!der_take(&list, TAG_SEQUENCE, &point)
            || !der_take(&point, TAG_CONTEXT(0), &name) || der_left(&point)
            || !der_take(&name, TAG_CONTEXT(0), &full) || der_left(&name))
        {
            return false;
        }

        while (der_left(&full)) {
            if (!der_take(&full, TAG_IMPLICIT(6), &uri)
                || der_left(&uri) > URL_MAX)
            {
                return false;
            }
        }
    }

    return true;
}


/* What nobody reads who only serves a certificate. */
static bool
read_nothing(struct der value, struct shape *ret)
{
    (void) value;
    (void) ret;

    return true;
}


/* To add one: a row, and one in t/unit/x509_accept.c. */
static const struct extension {
    unsigned char   oid[12];
    size_t          len;
    bool            critical;       /* may be */
    bool          (*read)(struct der value, struct shape *ret);
} extensions[] = {
    { { 0x55, 0x1d, 19 }, 3, true, read_constraints },
    { { 0x55, 0x1d, 15 }, 3, true, read_key_usage },
    { { 0x55, 0x1d, 37 }, 3, true, read_purposes },
    { { 0x55, 0x1d, 17 }, 3, true, read_names },
    { { 0x55, 0x1d, 14 }, 3, false, read_key_id },
    { { 0x55, 0x1d, 35 }, 3, false, read_authority },
    { { 0x55, 0x1d, 31 }, 3, false, read_crls },
    /* certificatePolicies, authorityInfoAccess, TLS feature, SCTs */
    { { 0x55, 0x1d, 32 }, 3, false, read_nothing },
    { { 0x2b, 6, 1, 5, 5, 7, 1, 1 }, 8, false, read_nothing },
    { { 0x2b, 6, 1, 5, 5, 7, 1, 24 }, 8, false, read_nothing },
    { { 0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2 }, 10, false, read_nothing },
    /* AD CS: template's name, template, application policies, SID */
    { { 0x2b, 6, 1, 4, 1, 0x82, 0x37, 20, 2 }, 9, false, read_nothing },
    { { 0x2b, 6, 1, 4, 1, 0x82, 0x37, 21, 7 }, 9, false, read_nothing },
    { { 0x2b, 6, 1, 4, 1, 0x82, 0x37, 21, 10 }, 9, false, read_nothing },
    { { 0x2b, 6, 1, 4, 1, 0x82, 0x37, 25, 2 }, 9, false, read_nothing },
};

#define COUNT(array)  (sizeof(array) / sizeof((array)[0]))


static bool
read_extension(struct der *list, unsigned *seen, struct shape *ret)
{
    bool        critical;
    size_t      i;
    struct der  one, oid, flag, value;

    if (!der_take(list, TAG_SEQUENCE, &one) || !der_take(&one, TAG_OID, &oid)) {
        return false;
    }

    critical = der_next_is(&one, TAG_BOOLEAN);

    if ((critical && (!der_take(&one, TAG_BOOLEAN, &flag)
                      || !der_is(&flag, yes, sizeof(yes))))
        || !der_take(&one, TAG_OCTETS, &value) || der_left(&one))
    {
        return false;
    }

    for (i = 0; i < COUNT(extensions); i++) {
        if (!der_is(&oid, extensions[i].oid, extensions[i].len)) {
            continue;
        }

        /* none may stand twice (4.2) */

        if (*seen & 1u << i || (critical && !extensions[i].critical)) {
            return false;
        }

        *seen |= 1u << i;

        return extensions[i].read(value, ret);
    }

    return false;
}


static bool
read_extensions(struct der *tbs, struct shape *ret)
{
    int         n;
    unsigned    seen = 0;
    struct der  outer, list;

    if (!der_take(tbs, TAG_CONTEXT(3), &outer) || der_left(tbs)
        || !der_take(&outer, TAG_SEQUENCE, &list) || der_left(&outer))
    {
        return false;
    }

    for (n = 0; der_left(&list); n++) {
        if (n == EXTENSIONS_MAX || !read_extension(&list, &seen, ret)) {
            return false;
        }
    }

    return n > 0;
}


/* A positive number in its shortest form. */
static bool
is_serial(struct der serial)
{
    return der_left(&serial) > 0 && der_left(&serial) <= SERIAL_MAX
           && !(serial.p[0] & 0x80)
           && (serial.p[0] != 0 || (der_left(&serial) > 1
                                    && serial.p[1] & 0x80));
}


static bool
read_signature(struct der algorithm, struct shape *ret)
{
    size_t  i;

    for (i = 0; i < COUNT(signatures); i++) {
        if (der_is(&algorithm, signatures[i].der, signatures[i].len)) {
            ret->signature = &signatures[i];
            return true;
        }
    }

    return false;
}


/* A BIT STRING of whole octets. */
static bool
take_octets(struct der *in, struct der *ret)
{
    return der_take(in, TAG_BIT_STRING, ret) && der_left(ret) > 1
           && *ret->p++ == 0;
}


static bool
take_number(struct der *in, struct der *ret)
{
    if (!der_take(in, TAG_INTEGER, ret) || der_left(ret) == 0
        || ret->p[0] & 0x80)
    {
        return false;
    }

    /* a zero stands before what would be negative, and nowhere else */

    if (ret->p[0] == 0 && (++ret->p == ret->end || !(ret->p[0] & 0x80))) {
        return false;
    }

    return true;
}


/* As certctl_key_check() judges it; of a modulus all bits of the octets count. */
static bool
read_rsa(struct der octets, struct shape *ret)
{
    struct der  list;

    return der_take(&octets, TAG_SEQUENCE, &list) && !der_left(&octets)
           && take_number(&list, &ret->modulus)
           && take_number(&list, &ret->exponent) && !der_left(&list)
           && der_left(&ret->modulus) >= RSA_OCTETS_MIN
           && der_left(&ret->modulus) <= RSA_OCTETS_MAX
           && ret->modulus.p[0] & 0x80
           && der_left(&ret->exponent) <= EXPONENT_OCTETS_MAX
           && ret->exponent.end[-1] & 1 && !der_is(&ret->exponent, "\1", 1);
}


/* An EC point is written in full: whoever compares it compares all of it. */
static bool
read_key(struct der spki, struct shape *ret)
{
    size_t                   i;
    struct der               inner, algorithm;
    const struct shape_key  *key;

    if (!der_take(&spki, TAG_SEQUENCE, &inner)
        || !der_take_whole(&inner, TAG_SEQUENCE, &algorithm)
        || !take_octets(&inner, &ret->point) || der_left(&inner))
    {
        return false;
    }

    for (i = 0; i < COUNT(keys); i++) {
        key = &keys[i];

        if (der_is(&algorithm, key->der, key->len)) {
            ret->key = key;

            return key->point == 0
                   ? read_rsa(ret->point, ret)
                   : der_left(&ret->point) == key->point
                     && (key->id != EVP_PKEY_EC || ret->point.p[0] == 4);
        }
    }

    return false;
}


bool
certctl_shape_read(const unsigned char *der, size_t len, struct shape *ret)
{
    struct der    in = { der, der + len };
    struct der    cert, body, tbs, version, serial, first, second, validity;
    struct shape  shape = { 0 };

    if (!der_take(&in, TAG_SEQUENCE, &cert)
        || !der_take_whole(&cert, TAG_SEQUENCE, &shape.tbs)
        || !der_take_whole(&cert, TAG_SEQUENCE, &second)
        || !take_octets(&cert, &shape.signed_by) || der_left(&cert))
    {
        return false;
    }

    body = shape.tbs;

    if (!der_take(&body, TAG_SEQUENCE, &tbs)
        || !der_take(&tbs, TAG_CONTEXT(0), &version)
        || !der_is(&version, version_3, sizeof(version_3))
        || !der_take(&tbs, TAG_INTEGER, &serial) || !is_serial(serial)
        || !der_take_whole(&tbs, TAG_SEQUENCE, &first)
        || !der_is(&second, first.p, der_left(&first))
        || !read_signature(first, &shape)
        || !der_take_whole(&tbs, TAG_SEQUENCE, &shape.issuer)
        || !der_take(&tbs, TAG_SEQUENCE, &validity)
        || !der_take_time(&validity, &shape.not_before)
        || !der_take_time(&validity, &shape.not_after) || der_left(&validity)
        || !der_take_whole(&tbs, TAG_SEQUENCE, &shape.subject)
        || !der_take_whole(&tbs, TAG_SEQUENCE, &shape.spki)
        || !read_key(shape.spki, &shape)
        || !read_extensions(&tbs, &shape))
    {
        return false;
    }

    shape.len = in.p - der;
    *ret = shape;

    return true;
}
