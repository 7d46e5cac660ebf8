/* A set of session ticket keys, as a controller pushes it. */
#include "fuzz.h"
#include "store/store.h"

static void
check(const certctl_ticket_set_t *set)
{
    const certctl_ticket_key_t  *key;
    size_t                       i;

    FUZZ_MUST(set->n > 0 && set->n <= CERTCTL_TICKET_KEYS);
    FUZZ_MUST(set->generation > 0);

    for (i = 0; i < set->n; i++) {
        key = &set->key[i];
        FUZZ_MUST(key->from < key->until && key->until <= key->accept);
        FUZZ_MUST(key->accept - key->until <= CERTCTL_TICKET_LIFE);
    }

    key = certctl_ticket_key(set, FUZZ_NOW);
    FUZZ_MUST(key && key->from <= FUZZ_NOW && FUZZ_NOW < key->until);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    certctl_ticket_set_t  set;
    const char           *rule;

    rule = certctl_ticket_set_parse(data, len, FUZZ_NOW, &set);

    if (rule) {
        FUZZ_MUST(*rule && set.n == 0);

    } else {
        check(&set);
    }

    FUZZ_QUIET();

    return 0;
}
