/* Serial numbers: positive, not zero, at most 20 octets (RFC 5280 4.1.2.2). */
#include "ca_build.h"
#include "x509_info.h"

#include <openssl/rand.h>
#include <string.h>

#define SERIAL_OCTETS  20

bool
ca_serial_new(char out[CA_SERIAL_HEX], struct error *err)
{
    unsigned char  octets[SERIAL_OCTETS];

    if (RAND_bytes(octets, sizeof(octets)) != 1) {
        return error_set_ossl(err, ERR_INTERNAL, "serial number");
    }

    /* Top bit clear, as INTEGER is signed; next bit set, for a fixed length. */
    octets[0] = (octets[0] & 0x3f) | 0x40;

    certctl_hex(octets, sizeof(octets), out);

    return true;
}

ASN1_INTEGER *
ca_serial_parse(const char *hex, struct error *err)
{
    size_t                       len = strlen(hex);
    ASN1_INTEGER                *serial;
    CLEANUP(bignum) BIGNUM      *bn = NULL;

    if (len == 0 || len > 2 * SERIAL_OCTETS
        || strspn(hex, "0123456789abcdefABCDEF") != len)
    {
        error_set(err, ERR_INVALID, "RFC 5280 4.1.2.2: a serial number is 1 to "
                  "%d hex digits", 2 * SERIAL_OCTETS);
        return NULL;
    }

    if (BN_hex2bn(&bn, hex) != (int) len) {
        error_set_ossl(err, ERR_INTERNAL, "serial number");
        return NULL;
    }

    if (BN_is_zero(bn) || BN_num_bits(bn) >= 8 * SERIAL_OCTETS) {
        error_set(err, ERR_INVALID, "RFC 5280 4.1.2.2: a serial number is not "
                  "zero, and has %d octets with its sign", SERIAL_OCTETS);
        return NULL;
    }

    serial = BN_to_ASN1_INTEGER(bn, NULL);

    if (serial == NULL) {
        error_set_ossl(err, ERR_INTERNAL, "serial number");
    }

    return serial;
}

bool
ca_serial_text(const ASN1_INTEGER *serial, char out[CA_SERIAL_HEX])
{
    const unsigned char  *octets = ASN1_STRING_get0_data(serial);
    size_t                len = ASN1_STRING_length(serial);

    while (len > 0 && *octets == 0) {
        octets++;
        len--;
    }

    if (len == 0 || len > SERIAL_OCTETS
        || ASN1_STRING_type(serial) != V_ASN1_INTEGER)
    {
        return false;
    }

    certctl_hex(octets, len, out);

    return true;
}

bool
ca_serial_read(const char *hex, char out[CA_SERIAL_HEX], struct error *err)
{
    CLEANUP(asn1_integer) ASN1_INTEGER  *serial = ca_serial_parse(hex, err);

    return serial && ca_serial_text(serial, out);
}
