/* Judges names as issuance will: with the parser that makes the extension. */
#include "certificate_name.h"
#include "wire.h"
#include "x509_san.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool
is_address(const char *text)
{
    unsigned char  address[16];

    return inet_pton(AF_INET, text, address) == 1
           || inet_pton(AF_INET6, text, address) == 1;
}

/* 1.2.3 and 999.1.1.1 are no host names either: the last label is a number. */
static bool
ends_in_number(const char *text)
{
    const char  *dot = strrchr(text, '.');
    const char  *label = dot ? dot + 1 : text;

    return *label && label[strspn(label, "0123456789")] == '\0';
}

bool
certificate_name_check(const char *text, struct error *err)
{
    GENERAL_NAMES  *names;
    const char     *why = NULL;
    char            san[300];

    if (strlen(text) > CERTCTL_NAME_MAX || strchr(text, ',')) {
        return error_set(err, ERR_INVALID, "RFC 1123 2.1: one name of at most %d "
                         "characters", CERTCTL_NAME_MAX);
    }

    if (!is_address(text) && ends_in_number(text)) {
        return error_set(err, ERR_INVALID, "RFC 1123 2.1: neither a host name nor "
                         "an IP address");
    }

    snprintf(san, sizeof(san), "%s:%s", is_address(text) ? "IP" : "DNS", text);
    names = certctl_sans_parse(san, &why);

    if (names == NULL) {
        return error_set(err, ERR_INVALID, "%s", why);
    }

    GENERAL_NAMES_free(names);

    return true;
}
