/* The store: what is put is found, by its names, until something newer comes. */
#define _GNU_SOURCE
#include "store_support.h"
#include "x509_info.h"
#include <openssl/sha.h>
#include <time.h>

static char  touched[4096];

static void
touch(const char *name, void *data)
{
    (void) data;
    if (strlen(name) != 64) {               /* fingerprints have their own test */
        size_t  len = strlen(touched);

        snprintf(touched + len, sizeof(touched) - len, "%s%s", len ? " " : "",
                 name);
    }
}

static void
touch_one(const char *name, void *data)
{
    snprintf(data, 65, "%s", name);
}

static int
put(certctl_store_t *store, const certctl_record_t *rec, uint64_t *generation)
{
    touched[0] = '\0';
    return certctl_store_put(store, rec, generation, touch, NULL);
}

/*
 * Generations are microseconds; where the clock is coarser than a write they run
 * ahead of it, and a delete forgets by how much.
 */
static void
sleep_past(uint64_t generation)
{
    struct timespec  now, step = { 0, 1000000 };

    do {
        nanosleep(&step, NULL);
        clock_gettime(CLOCK_REALTIME, &now);
    } while ((uint64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000 <= generation);
}

/* The record "shop" is there, and only it; then rsa is, too. */
static void
answers_to_names(certctl_store_t *store, const certctl_record_t *rsa)
{
    is_str(ecdsa(store, "shop.example"), "shop", "found by DNS name");
    is_str(ecdsa(store, "SHOP.Example"), "shop", "in any letter case");
    is_str(ecdsa(store, "*.shop.example"), "shop", "by the wildcard");
    is_str(ecdsa(store, "a.shop.example"), "-", "which the caller expands");
    is_str(ecdsa(store, "192.0.2.1"), "shop", "by IPv4");
    is_str(ecdsa(store, "2001:DB8::1"), "shop", "by IPv6");
    is_str(ecdsa(store, "urn:x"), "-", "not by URI");
    is_str(ecdsa(store, "shop"), "-", "not by the record's own name");
    is_str(answer_for(store, CERTCTL_KIND_RSA, "shop.example"), "-",
           "not as the other kind");

    is_int(put(store, rsa, NULL), CERTCTL_STORE_OK, "an RSA one beside it");
    is_str(ecdsa(store, "shop.example"), "shop", "each kind has");
    is_str(answer_for(store, CERTCTL_KIND_RSA, "shop.example"), "shop-rsa",
           "its own answer");
}

static void
puts_and_finds(void)
{
    certctl_store_t   *store = test_open();
    certctl_record_t   a = test_record("shop", "DNS:Shop.example,"
                             "DNS:*.shop.example,IP:192.0.2.1,IP:2001:db8::1,"
                             "URI:urn:x,email:a@b", 0);
    certctl_record_t   b = test_record("shop", "DNS:shop.example,DNS:new.example",
                                       0);
    certctl_record_t   r = test_record("shop-rsa", "DNS:shop.example", 1), got;
    uint64_t           g1 = 0, g2 = 0, g3 = 0;
    certctl_blob_t     staple = { (u_char *) "staple", 6 };
    long long          begin = time(NULL);

    is_int(certctl_store_read(store, "shop", &got), CERTCTL_STORE_NOT_FOUND,
           "an empty store has nothing");
    a.staple = staple;
    a.staple_until = 1234567;
    a.reused_key = 1;

    is_int(put(store, &a, &g1), CERTCTL_STORE_OK, "put");
    is_str(touched, "shop shop.example *.shop.example 192.0.2.1 2001:db8::1",
           "its own, DNS and IP names are touched, in lower case");

    is_int(certctl_store_read(store, "shop", &got), CERTCTL_STORE_OK, "read");
    ok(same_blob(&got.chain, &a.chain) && same_blob(&got.key, &a.key)
       && same_blob(&got.staple, &staple), "chain, key and staple");
    is_int(got.staple_until, 1234567, "the staple's end");
    ok(got.generation == g1 && g1 > 0, "the generation that put told");
    ok(got.reused_key && got.kind == CERTCTL_KIND_ECDSA, "flags and kind");
    ok(got.stored >= begin && got.stored <= (long long) time(NULL),
       "when it was stored");
    ok(certctl_store_is_file(store, "shop", &got.file), "it is still the same file");

    answers_to_names(store, &r);

    is_int(put(store, &b, &g2), CERTCTL_STORE_OK, "put a newer one");
    ok(g2 > g1, "under a higher generation");
    is_str(touched, "shop shop.example new.example *.shop.example 192.0.2.1"
           " 2001:db8::1", "new and lost names are touched");
    ok(!certctl_store_is_file(store, "shop", &got.file), "the file is another one");
    certctl_record_free(&got);
    is_str(ecdsa(store, "new.example"), "shop", "new names answer");
    is_str(ecdsa(store, "192.0.2.1"), "-", "lost names do not");

    is_int(certctl_store_rollback(store, "shop", 0, &g3, touch, NULL),
           CERTCTL_STORE_OK, "rollback");
    ok(g3 > g2 && holds(store, "shop", &a), "the first is live again");
    is_str(ecdsa(store, "192.0.2.1"), "shop", "with its names");
    is_str(ecdsa(store, "new.example"), "-", "and without the second's");
    is_int(certctl_store_read(store, "shop", &got), CERTCTL_STORE_OK, "read");
    ok(same_blob(&got.staple, &staple), "with its staple");
    certctl_record_free(&got);
    is_int(certctl_store_rollback(store, "shop", 0, NULL, NULL, NULL),
           CERTCTL_STORE_OK, "and back");
    ok(holds(store, "shop", &b), "to the second");

    touched[0] = '\0';
    is_int(certctl_store_delete(store, "shop", 0, touch, NULL), CERTCTL_STORE_OK,
           "delete");
    is_str(touched, "shop shop.example new.example", "touches its names");
    is_str(ecdsa(store, "shop.example"), "-", "it is gone");
    is_str(answer_for(store, CERTCTL_KIND_RSA, "shop.example"), "shop-rsa",
           "the other kind is not");
    is_int(certctl_store_delete(store, "shop", 0, NULL, NULL),
           CERTCTL_STORE_NOT_FOUND, "a second time there is nothing");
    is_int(certctl_store_rollback(store, "shop", 0, NULL, NULL, NULL),
           CERTCTL_STORE_NOT_FOUND, "nothing to roll back");
    sleep_past(g3);
    is_int(put(store, &a, &g1), CERTCTL_STORE_OK, "put it again");
    ok(g1 > g3, "the generation did not go back");

    is_int(certctl_store_delete(store, "shop", 0, NULL, NULL), 0, "delete");
    is_int(certctl_store_delete(store, "shop-rsa", 0, NULL, NULL), 0, "both");
    is_int(files_in("certs") + files_in("names") + files_in("writes"), 0,
           "no file is left behind");

    test_record_done(&a);
    test_record_done(&b);
    test_record_done(&r);
    certctl_store_close(store);
}

static void
shares_names(void)
{
    certctl_store_t   *store = test_open();
    certctl_record_t   a = test_record("a", "DNS:x.example,DNS:a.example", 0);
    certctl_record_t   b = test_record_valid("b", "DNS:x.example,DNS:b.example", 0,
                                             -2 * DAY, DAY);
    certctl_record_t   c = test_record("a", "DNS:a.example", 0);
    certctl_record_t   d = test_record("a", "DNS:a.example", 1);
    certctl_record_t   agent = test_record("_agent", "DNS:x.example", 0);
    certctl_record_t   plain = test_record("plain", NULL, 0);

    put(store, &a, NULL);
    put(store, &b, NULL);
    is_str(ecdsa(store, "x.example"), "a", "of two the later notBefore answers");
    put(store, &c, NULL);
    is_str(ecdsa(store, "x.example"), "b", "when it loses the name, the other");
    certctl_store_rollback(store, "a", 0, NULL, NULL, NULL);
    is_str(ecdsa(store, "x.example"), "a", "a rollback is a write like others");
    certctl_store_delete(store, "b", 0, NULL, NULL);
    is_str(ecdsa(store, "x.example"), "a", "so is a deletion");
    is_str(ecdsa(store, "b.example"), "-", "but its own names go");

    put(store, &d, NULL);
    is_str(ecdsa(store, "a.example"), "-", "a record that changes its kind");
    is_str(answer_for(store, CERTCTL_KIND_RSA, "a.example"), "a",
           "moves its names");

    touched[0] = '\0';
    is_int(put(store, &agent, NULL), CERTCTL_STORE_OK, "the agent's identity");
    is_str(ecdsa(store, "x.example"), "-", "is never served to the public");
    is_str(touched, "_agent", "and touches no other name");
    ok(holds(store, "_agent", &agent), "but can be read");

    is_int(put(store, &plain, NULL), CERTCTL_STORE_OK, "no SANs at all");
    ok(holds(store, "plain", &plain), "is a record, too");

    for (const char **p = (const char *[]) { "a", "_agent", "plain", NULL };
         *p; p++)
    {
        certctl_store_delete(store, *p, 0, NULL, NULL);
    }
    is_int(files_in("certs") + files_in("names"), 0, "no file is left behind");

    test_record_done(&a);
    test_record_done(&b);
    test_record_done(&c);
    test_record_done(&d);
    test_record_done(&agent);
    test_record_done(&plain);
    certctl_store_close(store);
}

static void
finds_by_fingerprint(void)
{
    certctl_store_t   *store = test_open();
    certctl_record_t   a = test_record("f", "DNS:f.example", 0);
    certctl_record_t   b = test_record("f", "DNS:f.example", 0);
    u_char             print[32];
    certctl_record_t   got;
    char               of_a[65], of_b[65];
    uint64_t           first, second, third;

    SHA256(a.chain.data, a.chain.len, print);
    certctl_hex(print, 32, of_a);
    SHA256(b.chain.data, b.chain.len, print);
    certctl_hex(print, 32, of_b);

    put(store, &a, &first);
    is_str(ecdsa(store, of_a), "f", "a certificate is found by fingerprint");
    put(store, &b, &second);
    is_str(ecdsa(store, of_b), "f", "so is the next");
    is_str(ecdsa(store, of_a), "-", "and the one before no more");

    a.generation = first;
    is_int(put(store, &a, NULL), CERTCTL_STORE_CONFLICT,
           "a write that replaces what is no longer live is refused");
    ok(holds(store, "f", &b), "and changes nothing");
    a.generation = second;
    is_int(put(store, &a, NULL), CERTCTL_STORE_OK, "one that replaces the live");
    snprintf(a.name, sizeof(a.name), "other");
    is_int(put(store, &a, NULL), CERTCTL_STORE_CONFLICT,
           "one that replaces nothing");

    a.generation = CERTCTL_STORE_NONE;
    is_int(put(store, &a, &third), CERTCTL_STORE_OK, "unless it wants that");
    is_int(put(store, &a, NULL), CERTCTL_STORE_CONFLICT, "and nothing else");
    is_int(certctl_store_delete(store, "other", first, NULL, NULL),
           CERTCTL_STORE_CONFLICT, "so it is with a deletion");
    is_int(certctl_store_delete(store, "other", third, NULL, NULL), 0,
           "of what is live");
    is_int(certctl_store_rollback(store, "f", second, &third, NULL, NULL),
           CERTCTL_STORE_CONFLICT, "and with a rollback");
    ok(certctl_store_read(store, "f", &got) == 0 && got.generation > second
       && certctl_store_rollback(store, "f", got.generation, NULL, NULL, NULL)
          == 0, "of what is live");
    certctl_record_free(&got);

    certctl_store_delete(store, "f", 0, NULL, NULL);
    is_int(files_in("names") + files_in("writes"), 0, "no file is left behind");
    test_record_done(&a);
    test_record_done(&b);
    certctl_store_close(store);
}

/* An entry in names/ that was made by hand, or by another hand. */
static void
does_not_believe_entries(void)
{
    certctl_store_t   *store = test_open();
    certctl_record_t   a = test_record("a", "DNS:a.example", 0);
    certctl_record_t   id = test_record("_agent", "DNS:id.example", 0);
    char               path[600], *end;

    put(store, &a, NULL);
    put(store, &id, NULL);
    snprintf(path, sizeof(path), "%s", file_of("names", "a.example"));

    end = strrchr(path, '/') + 1;

    static const char  *targets[] = { "../../../seal.key", "", "nobody", "_agent",
                                      "/etc/passwd", "//", "nobody/_agent/", NULL };

    for (const char **p = targets; *p; p++) {
        unlink(path);
        PKI_MUST((*p)[0] == '\0' || symlink(*p, path) == 0);
        is_str(ecdsa(store, "a.example"), "-", "entry \"%s\" shows nothing", *p);
    }
    unlink(path);
    PKI_MUST(symlink("nobody/_agent/../a", path) == 0);
    is_str(ecdsa(store, "a.example"), "a", "what it names is tried one by one");
    unlink(path);
    spew(path, (const unsigned char *) "a", 1);
    is_str(ecdsa(store, "a.example"), "-", "a file is no entry");
    unlink(path);

    is_int(put(store, &a, NULL), CERTCTL_STORE_OK, "a put");
    is_str(ecdsa(store, "a.example"), "a", "makes it good again");

    /* any name, pointed at a record that does not carry it */
    for (int i = 0; i < 2000; i++) {
        snprintf(end, path + sizeof(path) - end, "n%d.example", i);
        PKI_MUST(symlink("a", path) == 0);
        if (strcmp(ecdsa(store, end), "-") != 0) {
            break;
        }
        unlink(path);
        if (i == 1999) {
            ok(1, "a certificate is never shown to a name it does not carry");
        }
    }

    certctl_store_delete(store, "a", 0, NULL, NULL);
    certctl_store_delete(store, "_agent", 0, NULL, NULL);
    test_record_done(&a);
    test_record_done(&id);
    certctl_store_close(store);
}

static void
staples(void)
{
    certctl_store_t   *store = test_open();
    certctl_record_t   a = test_record("a", "DNS:a.example", 0), got;
    certctl_record_t   b = test_record("a", "DNS:a.example", 0);
    certctl_blob_t     one = { (u_char *) "one", 3 }, got1, none = { NULL, 0 };
    u_char             print[32], other[32] = { 1 };
    char               hex[65] = "";
    int64_t            until;
    uint64_t           g1, g2;

    put(store, &a, NULL);
    put(store, &b, &g1);
    SHA256(b.chain.data, b.chain.len, print);

    touched[0] = '\0';
    is_int(certctl_store_staple(store, "a", print, &one, 77, &g2, touch, NULL),
           CERTCTL_STORE_OK, "a staple");
    is_str(touched, "a a.example", "touches the names");
    ok(g2 > g1, "under a new generation");
    certctl_store_read(store, "a", &got);
    ok(same_blob(&got.staple, &one) && got.staple_until == 77
       && same_blob(&got.key, &b.key), "beside the same key");
    certctl_record_free(&got);

    is_int(certctl_store_staple(store, "a", other, &one, 7, NULL, touch, NULL),
           CERTCTL_STORE_NOT_FOUND, "not for another certificate");
    is_int(certctl_store_staple(store, "b", print, &one, 7, NULL, touch, NULL),
           CERTCTL_STORE_NOT_FOUND, "not for a record that is not there");

    is_int(certctl_store_rollback(store, "a", 0, NULL, NULL, NULL), 0, "rollback");
    ok(holds(store, "a", &a), "goes to the certificate before, not the staple");
    is_int(certctl_store_rollback(store, "a", 0, NULL, NULL, NULL), 0, "and back");
    certctl_store_read(store, "a", &got);
    ok(same_blob(&got.staple, &one), "with the staple it had");
    certctl_record_free(&got);
    is_int(certctl_store_staple(store, "a", print, &none, 0, NULL, NULL, NULL),
           CERTCTL_STORE_OK, "withdrawn");
    certctl_store_read(store, "a", &got);
    ok(same_blob(&got.staple, &one)
       && got.staple_until == CERTCTL_STAPLE_WITHDRAWN, "it is kept as such");
    certctl_record_free(&got);
    is_int(certctl_store_staple(store, "a", print, &one, 77, NULL, NULL, NULL),
           CERTCTL_STORE_OLDER, "and does not come back");

    is_int(certctl_store_static_staple_get(store, other, &got1, &until),
           CERTCTL_STORE_NOT_FOUND, "no static staple");
    is_int(certctl_store_static_staple_put(store, other, &one, 78, touch_one,
                                           hex),
           0, "one is put");
    is_str(hex, "01000000000000000000000000000000"
           "00000000000000000000000000000000", "touches its fingerprint");
    is_int(certctl_store_static_staple_get(store, other, &got1, &until), 0,
           "and read");
    ok(same_blob(&got1, &one) && until == 78, "as it was");
    free(got1.data);
    is_int(certctl_store_static_staple_put(store, other, &one,
                                           CERTCTL_STAPLE_WITHDRAWN, NULL,
                                           NULL),
           0, "withdrawn");
    is_int(certctl_store_static_staple_put(store, other, &one, 79, NULL, NULL),
           CERTCTL_STORE_OLDER, "it does not come back, either");

    certctl_store_delete(store, "a", 0, NULL, NULL);
    test_record_done(&a);
    test_record_done(&b);
    certctl_store_close(store);
}

static void
keys_wait(void)
{
    certctl_store_t    *store = test_open();
    certctl_record_t    a = test_record("w", "DNS:w.example", 0);
    certctl_record_t    b = test_record("w", "DNS:w.example", 0);
    certctl_pending_t   p = { .name = "w", .key_type = "ec-p256", .made = 42 };
    certctl_pending_t   got;

    p.key = b.key;
    p.csr = (certctl_blob_t) { (u_char *) "request", 7 };

    is_int(certctl_store_pending_get(store, "w", &got), CERTCTL_STORE_NOT_FOUND,
           "no key waits");
    is_int(certctl_store_pending_put(store, &p), CERTCTL_STORE_OK, "one waits");
    is_int(certctl_store_pending_get(store, "w", &got), CERTCTL_STORE_OK, "read");
    ok(same_blob(&got.key, &p.key) && same_blob(&got.csr, &p.csr)
       && got.made == 42, "key, request and time");
    is_str(got.key_type, "ec-p256", "and key type");
    certctl_pending_free(&got);
    ok(got.buf == NULL, "freed and wiped");

    put(store, &a, NULL);
    is_int(certctl_store_pending_get(store, "w", &got), 0,
           "a certificate with another key leaves it");
    certctl_pending_free(&got);
    put(store, &b, NULL);
    is_int(certctl_store_pending_get(store, "w", &got), CERTCTL_STORE_NOT_FOUND,
           "the one with this key removes it");

    certctl_store_pending_put(store, &p);
    p.key = a.key;
    certctl_store_pending_put(store, &p);
    certctl_store_pending_get(store, "w", &got);
    ok(same_blob(&got.key, &a.key), "a newer key replaces an older");
    certctl_pending_free(&got);
    certctl_store_delete(store, "w", 0, NULL, NULL);
    is_int(files_in("pending"), 0, "deletion takes it along");

    p.key = (certctl_blob_t) { (u_char *) "no key", 6 };
    is_int(certctl_store_pending_put(store, &p), CERTCTL_STORE_ERROR,
           "what is no key does not wait");
    test_record_done(&a);
    test_record_done(&b);
    certctl_store_close(store);
}

static void
names_of_records(void)
{
    static const struct { const char *name; int good; } rows[] = {
        { "a", 1 }, { "mc-7", 1 }, { "*.example.com", 1 }, { "_agent", 1 },
        { ".hidden", 1 }, { "A.B", 1 }, { "", 0 }, { ".", 0 }, { "..", 0 },
        { "a/b", 0 }, { "a b", 0 }, { "a+", 0 }, { "a~", 0 }, { "a\n", 0 },
        { "\xc3\xa4", 0 }, { "../x", 0 }, { "a:b", 0 },
    };
    certctl_store_t   *store = test_open();
    certctl_record_t   rec, got;
    char               name[256], big[255];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ok(certctl_name_valid((const u_char *) rows[i].name,
                              strlen(rows[i].name)) == rows[i].good,
           "row %zu is %s", i, rows[i].good ? "a name" : "no name");
    }
    ok(!certctl_name_valid((const u_char *) "a\0b", 3), "no NUL inside");

    rec = test_record("../../../etc/x", "DNS:a.example", 0);
    is_int(put(store, &rec, NULL), CERTCTL_STORE_ERROR, "no way out of the store");
    is_int(errno, EINVAL, "EINVAL");
    test_record_done(&rec);

    memset(big, 'n', 254);
    big[254] = '\0';
    ok(!certctl_name_valid((u_char *) big, 254), "254 characters are too many");
    big[253] = '\0';
    rec = test_record(big, "DNS:a.example", 0);
    is_int(put(store, &rec, NULL), CERTCTL_STORE_OK, "253 fit");
    is_int(put(store, &rec, NULL), CERTCTL_STORE_OK, "also beside a previous one");
    is_int(certctl_store_rollback(store, big, 0, NULL, NULL, NULL), 0, "rollback");
    is_int(certctl_store_read(store, big, &got), CERTCTL_STORE_OK, "read");
    is_str(got.name, big, "in full");
    certctl_record_free(&got);
    is_int(certctl_store_delete(store, big, 0, NULL, NULL), 0, "delete");
    test_record_done(&rec);

    /* every record has its own file, whatever the others are called */
    rec = test_record("s", "DNS:a.example", 0);
    put(store, &rec, NULL);
    put(store, &rec, NULL);
    for (const char **p = (const char *[]) { "s.prev", "S", "s.damaged", NULL };
         *p; p++)
    {
        is_int(certctl_store_read(store, *p, &got), CERTCTL_STORE_NOT_FOUND,
               "\"%s\" is another record", *p);
    }
    certctl_store_delete(store, "s", 0, NULL, NULL);

    snprintf(name, sizeof(name), "s");
    rec.key.len = 0;
    is_int(put(store, &rec, NULL), CERTCTL_STORE_ERROR, "no key, no record");
    rec.key.len = 1;
    rec.chain.len--;
    is_int(put(store, &rec, NULL), CERTCTL_STORE_ERROR, "half a certificate");
    rec.chain.len++;
    rec.kind = CERTCTL_KINDS;
    is_int(put(store, &rec, NULL), CERTCTL_STORE_ERROR, "no such kind");
    rec.kind = 0;
    rec.staple.len = 300 * 1024;
    rec.staple.data = calloc(1, rec.staple.len);
    is_int(put(store, &rec, NULL), CERTCTL_STORE_ERROR, "larger than a record");
    is_int(errno, EFBIG, "EFBIG");
    free(rec.staple.data);
    is_int(files_in("certs") + files_in("writes"), 0, "nothing was written");
    test_record_done(&rec);
    certctl_store_close(store);
}

static int
count(const char *name, void *data)
{
    int  *n = data;

    return name[0] == 'e' && ++*n == 3;
}

static void
lists(void)
{
    certctl_store_t   *store = test_open();
    certctl_record_t   rec = test_record("e", "DNS:a.example", 0);
    int                n = 0;

    for (int i = 0; i < 5; i++) {
        snprintf(rec.name, sizeof(rec.name), "e%d", i);
        put(store, &rec, NULL);
        put(store, &rec, NULL);
    }
    is_int(certctl_store_each(store, count, &n), 0, "a listing");
    is_int(n, 3, "stops when told to");
    n = 10;
    certctl_store_each(store, count, &n);
    is_int(n, 15, "every record once, without previous ones");
    for (int i = 0; i < 5; i++) {
        snprintf(rec.name, sizeof(rec.name), "e%d", i);
        certctl_store_delete(store, rec.name, 0, NULL, NULL);
    }
    test_record_done(&rec);
    certctl_store_close(store);
}

int
main(void)
{
    puts_and_finds();
    shares_names();
    finds_by_fingerprint();
    does_not_believe_entries();
    staples();
    keys_wait();
    names_of_records();
    lists();
    is_int(ERR_peek_error(), 0, "nothing is left in the error queue");
    return done_testing();
}
