/*
 * The store: of all records that carry a name one answers for it, whichever of
 * them come and go, and always the same one.
 */
#define _GNU_SOURCE
#include "store_support.h"
#include "x509_info.h"
#include <openssl/sha.h>

#define HOUR   3600L
#define MANY   24               /* more than a list has room for */

static certctl_store_t  *store;

static int
put(const certctl_record_t *rec)
{
    return certctl_store_put(store, rec, NULL, NULL, NULL);
}

static int
delete(const char *name)
{
    return certctl_store_delete(store, name, 0, NULL, NULL);
}

static int
rollback(const char *name)
{
    return certctl_store_rollback(store, name, 0, NULL, NULL, NULL);
}

/* What answers now, and after the store was opened anew. */
static const char *
answers(const char *host)
{
    static char  before[254];

    snprintf(before, sizeof(before), "%s", ecdsa(store, host));
    certctl_store_close(store);
    store = test_open();
    return strcmp(before, ecdsa(store, host)) == 0 ? before : "not the same";
}

/* Every way in which a record gives up a name that another one carries. */
static void
gives_up(void)
{
    certctl_record_t      wa = test_record_valid("wa", "DNS:wa.example,"
                                 "DNS:*.sh.example,IP:192.0.2.7", 0, -2 * HOUR, DAY);
    certctl_record_t      wb = test_record_valid("wb", "DNS:wb.example,"
                                 "DNS:*.sh.example,IP:192.0.2.7", 0, -HOUR, DAY);
    certctl_record_t      without = test_record_valid("wb", "DNS:wb.example", 0,
                                                      -HOUR, DAY);
    certctl_record_t      other = test_record("other", "DNS:other.example", 0);
    certctl_record_t      rsa = test_record("wb", "DNS:*.sh.example", 1);
    certctl_store_put_t   puts[] = { { .record = &without }, { .record = &other } };
    const char           *sh = "*.sh.example";

    for (int first = 0; first < 2; first++) {
        is_int(put(first ? &wb : &wa) + put(first ? &wa : &wb), 0, "two share a name");
        is_str(answers(sh), "wb", "the later notBefore, in whichever order they came");
        is_int(delete("wb"), 0, "it is deleted");
        is_str(answers(sh), "wa", "the other one answers");
        is_str(answers("192.0.2.7"), "wa", "so it is with an address");
        is_int(delete("wa"), 0, "and that is deleted");
        is_str(answers(sh), "-", "nobody answers");
    }

    is_int(put(&wa) + put(&wb) + put(&without), 0, "renewed without the name");
    is_str(answers(sh), "wa", "the other one answers");
    is_int(rollback("wb"), 0, "rolled back to a version with it");
    is_str(answers(sh), "wb", "the first one answers again");
    is_int(rollback("wb"), 0, "and to the one without it");
    is_str(answers(sh), "wa", "the other one answers again");
    is_int(put(&wa), 0, "the same certificate again");
    is_str(answers(sh), "wa", "changes nothing");

    is_int(put(&wb), 0, "the first with the name");
    certctl_store_put_many(store, puts, 2, NULL, NULL, NULL);
    is_int(puts[0].rc + puts[1].rc, 0, "renewed without it among others");
    is_str(answers(sh), "wa", "the other one answers");

    is_int(put(&wb) + put(&rsa), 0, "it changes its key type");
    is_str(answers(sh), "wa", "the other one answers");
    is_str(answer_for(store, CERTCTL_KIND_RSA, sh), "wb", "to each type its own");

    is_int(delete("wa") + delete("wb") + delete("other"), 0, "all are deleted");
    is_int(files_in("certs") + files_in("names"), 0, "no file is left behind");
    test_record_done(&wa);
    test_record_done(&wb);
    test_record_done(&without);
    test_record_done(&other);
    test_record_done(&rsa);
}

/* Valid before expired, later notBefore, lower name. */
static void
is_ordered(void)
{
    static const struct {
        const char  *name;
        long         from, to;
    } rows[] = {                        /* the last is the best of all before */
        { "z-expired", -9 * HOUR, -HOUR },
        { "y-expired", -8 * HOUR, -2 * HOUR },
        { "x-expired", -8 * HOUR, -3 * HOUR },
        { "future",    HOUR,      DAY },
        { "old",       -7 * DAY,  HOUR },
        { "n",         -9 * HOUR, DAY },
        { "m",         -9 * HOUR, DAY },
        { "Z",         -9 * HOUR, DAY },
        { "newest",    -HOUR,     HOUR },
    };
    size_t            n = sizeof(rows) / sizeof(rows[0]);
    certctl_record_t  rec;
    char              got[64], want[64];

    for (size_t i = 0; i < n; i++) {
        rec = test_record_valid(rows[i].name, "DNS:sh.example", 0, rows[i].from,
                                rows[i].to);
        is_int(put(&rec), 0, "%s", rows[i].name);
        test_record_done(&rec);
        is_str(answers("sh.example"), rows[i].name, "is the best of %zu", i + 1);
    }

    for (size_t i = n; i-- > 0; ) {
        snprintf(want, sizeof(want), "%s", i ? rows[i - 1].name : "-");
        is_int(delete(rows[i].name), 0, "without %s", rows[i].name);
        snprintf(got, sizeof(got), "%s", answers("sh.example"));
        is_str(got, want, "it is %s again", want);
    }
}

/* One that cannot be read does not hide one that can. */
static void
is_damaged(void)
{
    certctl_record_t  a = test_record_valid("a", "DNS:sh.example", 0, -HOUR, DAY);
    certctl_record_t  b = test_record_valid("b", "DNS:sh.example", 0, -DAY, DAY);
    certctl_record_t  c = test_record_valid("b", "DNS:sh.example", 0, -DAY, -HOUR);

    PKI_MUST(put(&a) == 0 && put(&b) == 0
             && truncate(file_of("certs", "a"), 100) == 0);
    is_str(answers("sh.example"), "b", "the first is damaged, the second answers");
    is_int(put(&c), 0, "which expires");
    is_str(answers("sh.example"), "damaged",
           "then who has a good copy of the first keeps it");
    is_int(put(&a), 0, "the first is replaced");
    is_str(answers("sh.example"), "a", "and answers again");
    PKI_MUST(delete("a") == 0 && delete("b") == 0);
    is_int(files_in("certs") + files_in("names"), 0, "no file is left behind");
    test_record_done(&a);
    test_record_done(&b);
    test_record_done(&c);
}

/* Links as they were when each had room for one record only. */
static void
is_upgraded(void)
{
    certctl_record_t  wa = test_record_valid("wa", "DNS:wa.example,DNS:sh.example",
                                             0, -2 * HOUR, DAY);
    certctl_record_t  wb = test_record_valid("wb", "DNS:wb.example,DNS:sh.example",
                                             0, -HOUR, DAY);
    certctl_record_t  without = test_record_valid("wb", "DNS:wb.example", 0,
                                                  -HOUR, DAY);

    for (int how = 0; how < 5; how++) {
        PKI_MUST(put(&wa) == 0 && put(&wb) == 0);
        set_link("sh.example", how == 4 ? "wa" : "wb");
        set_link("wb.example", "wb");
        is_str(answers("sh.example"), how == 4 ? "wa" : "wb", "a link with one record");
        is_str(answers("wb.example"), "wb", "leads to it");

        switch (how) {
        case 0:
            is_int(delete("wb"), 0, "that is deleted");
            break;
        case 1:
            is_int(put(&without), 0, "that loses the name");
            break;
        case 2:
            is_int(put(&wb) + delete("wb"), 0, "that is renewed, then deleted");
            break;
        case 3:
            is_int(put(&wa) + delete("wb"), 0, "of which another is put, then it is deleted");
            break;
        case 4:
            is_int(put(&wb), 0, "the better one is put");
            is_str(answers("sh.example"), "wb", "it answers");
            is_int(delete("wb"), 0, "it is deleted");
            break;
        }
        is_str(answers("sh.example"), "wa", "the other one answers");
        is_str(answers("wb.example"), how == 1 ? "wb" : "-", "and no more than that");
        PKI_MUST(delete("wa") == 0 && (how != 1 || delete("wb") == 0));
        is_int(files_in("names"), 0, "no link is left behind");
    }
    test_record_done(&wa);
    test_record_done(&wb);
    test_record_done(&without);
}

static int
is_known(const char *name, int from, int to, const char *format)
{
    char  one[254];

    for (int i = from; i < to; i++) {
        snprintf(one, sizeof(one), format, i);
        if (strcmp(one, name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* More records than a list has room for; format makes their names of a number. */
static void
are_many(const char *format, int long_lived)
{
    certctl_record_t  rec;
    char              name[254];
    int               bad = 0, deleted = 0;

    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), format, i);
        rec = test_record_valid(name, "DNS:sh.example", 0, (i - MANY) * HOUR,
                                long_lived < 0 || i == long_lived ? DAY : -1);
        bad += put(&rec) != 0;
        test_record_done(&rec);
    }
    is_int(bad, 0, "%d records share a name", MANY);
    snprintf(name, sizeof(name), format, long_lived < 0 ? MANY - 1 : long_lived);
    is_str(answers("sh.example"), name, "the best one answers");

    /* those that answer first, and then each that does */
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "%s", ecdsa(store, "sh.example"));
        bad += !is_known(name, 0, MANY, format);
        deleted += delete(name) == 0;
        bad += long_lived < 0 && !is_known(name, MANY - i - 1, MANY - i, format);
    }
    is_int(bad, 0, "there is always one that answers, and the best");
    is_int(deleted, MANY, "each is deleted once");
    is_str(answers("sh.example"), "-", "then none");
    is_int(files_in("certs") + files_in("names"), 0, "no file is left behind");
}

/* One certificate under two names is found by fingerprint as long as there is one. */
static void
is_stored_twice(void)
{
    certctl_record_t  a = test_record("a", "DNS:sh.example", 0);
    u_char            digest[32];
    char              hex[65];

    SHA256(a.chain.data, a.chain.len, digest);
    certctl_hex(digest, 32, hex);
    PKI_MUST(put(&a) == 0);
    snprintf(a.name, sizeof(a.name), "b");
    PKI_MUST(put(&a) == 0);
    is_str(answers(hex), "a", "by fingerprint the one that is first");
    is_str(answers("sh.example"), "a", "so it is by name");
    is_int(delete("a"), 0, "it is deleted");
    is_str(answers(hex), "b", "the other is found");
    is_int(delete("b"), 0, "and deleted");
    is_int(files_in("names"), 0, "no link is left behind");
    test_record_done(&a);
}

int
main(void)
{
    char  longest[260];

    store = test_open();
    memset(longest, 'n', 250);
    snprintf(longest + 250, sizeof(longest) - 250, "%%03d");

    gives_up();
    is_ordered();
    is_damaged();
    is_upgraded();
    are_many("r%d", -1);
    are_many("r%d", 0);
    are_many(longest, -1);
    are_many(longest, 2);
    is_stored_twice();
    is_int(ERR_peek_error(), 0, "nothing is left in the error queue");
    certctl_store_close(store);
    return done_testing();
}
