/*
 * Sealed files.  'f': the bytes are a file.  Else they are what lies in one,
 * four lengths first: sealed with the same key, opened, and taken apart; with
 * one bit turned over, it opens no more.
 */
#include "fuzz.h"
#include "store/store_impl.h"
#include "x509_key.h"
#include "x509_leaf.h"

#define NAME  "fuzz.example"

static certctl_store_t *
store(void)
{
    static certctl_store_t  s;
    u_char                  key[CERTCTL_SEAL_KEY];

    if (s.cipher == NULL) {
        memset(key, 7, sizeof(key));
        s.mac = certctl_seal_mac(key);
        memset(s.host, 8, sizeof(s.host));
        s.cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    }

    return &s;
}

static void
take_apart(certctl_record_t *sealed)
{
    const char           *at = NULL;
    EVP_PKEY             *key;
    size_t                n = 0;
    struct certctl_leaf   leaf;

    while ((at = certctl_record_next_name(&sealed->names,
                                          at)) != NULL)
    {
        n += strlen(at) + 1;
    }

    FUZZ_MUST(n <= sealed->names.len);
    (void) certctl_record_has_name(&sealed->names, NAME);

    if (certctl_leaf_read(sealed->chain.data,
                          sealed->chain.len, &leaf)
        == NULL)
    {
        certctl_leaf_free(&leaf);
    }

    key = certctl_key_from_der(sealed->key.data,
                               sealed->key.len);
    EVP_PKEY_free(key);
    certctl_record_free(sealed);
}

static void
open_file(const uint8_t *data, size_t len)
{
    static const certctl_sealed_e  types[] = { CERTCTL_SEALED_RECORD,
        CERTCTL_SEALED_PENDING, CERTCTL_SEALED_STAPLE };
    certctl_record_t               sealed;
    int                            rc;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        rc = certctl_unseal(store(), types[i], NAME, fuzz_copy(data, len), len,
                            &sealed);
        FUZZ_MUST(rc == CERTCTL_STORE_OK || rc == CERTCTL_STORE_DAMAGED);

        if (rc == CERTCTL_STORE_OK) {
            take_apart(&sealed);
        }
    }
}

static void
seal_and_open(const uint8_t *data, size_t len)
{
    certctl_record_t   in = { .type = CERTCTL_SEALED_RECORD, .name = NAME }, out;
    const uint8_t     *p = data + 8, *end = data + len;
    u_char            *file, *bad;
    size_t             file_len, bit;

    for (int i = 0; i < CERTCTL_BLOBS; i++) {
        in.blob[i].len = data[2 * i] << 8 | data[2 * i + 1];

        if (in.blob[i].len > (size_t) (end - p)) {
            in.blob[i].len = end - p;
        }

        in.blob[i].data = (u_char *) p;
        p += in.blob[i].len;
    }

    FUZZ_MUST(certctl_seal(store(), &in, &file, &file_len) == CERTCTL_STORE_OK);

    bit = (data[0] * 256 + data[len - 1]) % (8 * file_len);
    bad = fuzz_copy(file, file_len);
    bad[bit / 8] ^= 1 << bit % 8;

    FUZZ_MUST(certctl_unseal(store(), CERTCTL_SEALED_RECORD, NAME, bad, file_len,
                             &out) == CERTCTL_STORE_DAMAGED);
    FUZZ_MUST(certctl_unseal(store(), CERTCTL_SEALED_RECORD, NAME, file, file_len,
                             &out) == CERTCTL_STORE_OK);
    FUZZ_MUST(memcmp(out.blob[0].data, data + 8, p - data - 8) == 0);
    take_apart(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > 0 && data[0] == 'f') {
        open_file(data + 1, len - 1);

    } else if (len > 9) {
        seal_and_open(data + 1, len - 1);
    }

    FUZZ_QUIET();

    return 0;
}
