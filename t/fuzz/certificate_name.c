/* A certificate's name as a caller writes it: what the check takes has one spelling,
 * which a request can be made for, and of which is known whether anybody may have it. */
#include "fuzz.h"
#include "certificate_name.h"
#include "field.h"
#include "wire.h"
#include "x509_key.h"

#include <arpa/inet.h>
#include <stdio.h>

static void
spelling_kept(const char *name)
{
    struct error   err = { 0 };
    char          *again = certificate_name_canonical(name);
    char           san[CERTCTL_NAME_MAX + 8];
    unsigned char  address[16];
    bool           ip = inet_pton(AF_INET, name, address) == 1
                        || inet_pton(AF_INET6, name, address) == 1;

    FUZZ_MUST(again && strcmp(again, name) == 0);
    FUZZ_MUST(strlen(name) <= CERTCTL_NAME_MAX && certificate_name_check(name, &err));
    FUZZ_MUST(field_check_label(name, &err));

    snprintf(san, sizeof(san), "%s:%s", ip ? "IP" : "DNS", name);
    FUZZ_MUST(certctl_sans_check(san) == NULL);
    certificate_name_reserved(name);
    free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct error  err = { 0 };
    char         *text = fuzz_text(data, len);
    char         *name = certificate_name_canonical(text);

    FUZZ_MUST(certificate_name_check(text, &err) == (name != NULL));
    FUZZ_MUST(name || *err.detail);
    FUZZ_QUIET();

    if (name) {
        spelling_kept(name);
    }

    field_check_label(text, &err);
    field_check_pattern(text, &err);
    FUZZ_MUST(field_match(text, "a.example", 9) == FIELD_UNDECIDED
              || field_check_pattern(text, &err));
    FUZZ_QUIET();
    free(name);
    free(text);

    return 0;
}
