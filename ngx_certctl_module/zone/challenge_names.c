
/* What challenges are for: tokens, DNS names, and addresses as SNI names. */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ctype.h>

#include "zone/challenge.h"


#define NGX_CERTCTL_LABEL_MAX  63


ngx_uint_t
ngx_certctl_challenge_token(const u_char *p, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if (!isalnum(p[i]) && p[i] != '-' && p[i] != '_') {
            return 0;
        }
    }

    return len >= 1 && len <= NGX_CERTCTL_TOKEN_MAX;
}


/* RFC 8738 6: the SNI for an address is its reverse name (RFC 1034, 3596). */

static void
ngx_certctl_challenge_reverse(ngx_certctl_challenge_t *challenge)
{
    u_char      *p, *addr;
    ngx_uint_t   i;

    p = challenge->key;
    addr = challenge->addr;

    if (challenge->addr_len == 4) {
        p = ngx_sprintf(p, "%ui.%ui.%ui.%ui.in-addr.arpa",
                        (ngx_uint_t) addr[3], (ngx_uint_t) addr[2],
                        (ngx_uint_t) addr[1], (ngx_uint_t) addr[0]);

    } else {
        for (i = challenge->addr_len; i-- > 0; ) {
            p = ngx_sprintf(p, "%xi.%xi.", (ngx_int_t) (addr[i] & 0x0f),
                            (ngx_int_t) (addr[i] >> 4));
        }

        p = ngx_sprintf(p, "ip6.arpa");
    }

    challenge->key_len = p - challenge->key;
}


/* Letters, digits, "-" and "_" in labels of 1 to 63: no wildcard, no dot at
   the end, which no SNI may have either (RFC 6066 3). */

static ngx_uint_t
ngx_certctl_challenge_host(const u_char *p, size_t len)
{
    size_t  i, label;

    label = 0;

    for (i = 0; i < len; i++) {

        if (p[i] == '.') {
            if (label == 0) {
                return 0;
            }

            label = 0;
            continue;
        }

        if ((!isalnum(p[i]) && p[i] != '-' && p[i] != '_')
            || ++label > NGX_CERTCTL_LABEL_MAX)
        {
            return 0;
        }
    }

    return label > 0 && len <= NGX_CERTCTL_HOST_MAX;
}


ngx_int_t
ngx_certctl_challenge_identifier(ngx_certctl_challenge_t *challenge,
    const char *text)
{
    size_t  len;

    if (inet_pton(AF_INET, text, challenge->addr) == 1) {
        challenge->addr_len = 4;

    } else if (inet_pton(AF_INET6, text, challenge->addr) == 1) {
        challenge->addr_len = 16;
    }

    if (challenge->addr_len) {
        ngx_certctl_challenge_reverse(challenge);
        return NGX_OK;
    }

    len = ngx_strlen(text);

    if (!ngx_certctl_challenge_host((const u_char *) text, len)) {
        return NGX_ERROR;
    }

    ngx_strlow(challenge->key, (u_char *) text, len);
    challenge->key_len = len;

    return NGX_OK;
}
