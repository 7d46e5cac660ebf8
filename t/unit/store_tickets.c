/* Session ticket keys in the store: when they rotate, which set is kept. */
#define _GNU_SOURCE
#include "store_support.h"

#define INTERVAL  1000
#define KEEP      2

static certctl_store_t       *store;
static certctl_ticket_set_t   set;

static int  fresh;

static int
rotate(time_t now)
{
    int  rc, damaged = 0;

    rc = certctl_store_ticket_set_rotate(store, now, INTERVAL, KEEP, fresh,
                                         &damaged);
    return rc == 0 && certctl_store_ticket_set(store, &set) == 0
           ? damaged : -1;
}

static const u_char *
current(time_t now)
{
    const certctl_ticket_key_t  *key = certctl_ticket_key(&set, now);

    return key ? key->name : (const u_char *) "no key of 16 oct";
}

/* Whether tickets of the key of this name are accepted at now. */
static int
accepts(const u_char *name, time_t now)
{
    for (size_t i = 0; i < set.n; i++) {
        if (memcmp(set.key[i].name, name, 16) == 0) {
            return now < set.key[i].accept;
        }
    }
    return 0;
}

static void
rotates(time_t t)
{
    u_char  first[16], second[16];
    time_t  end;

    is_int(rotate(t), 0, "the first key");
    is_int(set.n, 1, "is made at once");
    ok(set.generation == 0 && !set.pushed, "by this host");
    memcpy(first, current(t), 16);

    rotate(t + INTERVAL / 4);
    is_int(set.n, 1, "no other one is due");
    rotate(t + INTERVAL / 2);
    is_int(set.n, 2, "the next one is made half an interval before");
    rotate(t + INTERVAL / 2 + 1);
    is_int(set.n, 2, "once");
    ok(memcmp(current(t + INTERVAL - 1), first, 16) == 0, "and is not used yet");
    memcpy(second, current(t + INTERVAL), 16);
    ok(memcmp(second, first, 16) != 0, "but when the first one ends");

    end = t + INTERVAL + KEEP * INTERVAL;
    ok(accepts(first, end - 1) && !accepts(first, end), "tickets of the first "
       "one are accepted for two more intervals");

    for (time_t now = t; now < t + 40 * INTERVAL; now += INTERVAL / 10) {
        rotate(now);
        if (certctl_ticket_key(&set, now) == NULL
            || set.n > KEEP + 3)
        {
            break;
        }
        end = now;
    }
    is_int(end, t + 40 * INTERVAL - INTERVAL / 10,
           "there is a key at each time, and never more than are of use");

    rotate(t + 100 * INTERVAL);
    ok(certctl_ticket_key(&set, t + 100 * INTERVAL) != NULL && set.n == 1,
       "after a long rest there is a new one alone");
    rotate(t);
    ok(certctl_ticket_key(&set, t) != NULL, "and when the clock was set back");

    memcpy(first, current(t), 16);
    fresh = 1;
    rotate(t);
    fresh = 0;
    ok(set.n == 1 && memcmp(first, current(t), 16) != 0, "all of them anew");
}

static certctl_ticket_set_t
pushed(uint64_t generation, const char *name, time_t from, time_t until)
{
    certctl_ticket_set_t  new = { .generation = generation, .pushed = 1, .n = 1 };

    new.key[0].from = from;
    new.key[0].until = until;
    new.key[0].accept = until + INTERVAL;
    memcpy(new.key[0].name, name, strlen(name));
    return new;
}

static int
put(certctl_ticket_set_t new, uint64_t *epoch)
{
    uint64_t  kept, at = 0;
    int       rc = certctl_store_ticket_set_put(store, &new, &kept,
                                                epoch ? epoch : &at);

    certctl_store_ticket_set(store, &set);
    return rc;
}

static void
pushes(time_t t)
{
    certctl_ticket_set_t  new = pushed(7, "seven", t, t + INTERVAL);
    uint64_t              epoch = 0, flushed = 0;

    is_int(put(new, NULL), 0, "a set is pushed");
    ok(set.n == 1 && set.pushed && set.generation == 7, "it replaces all keys");
    is_int(put(new, NULL), 0, "the same one again");
    is_int(put(pushed(7, "other", t, t + INTERVAL), NULL), CERTCTL_STORE_OLDER,
           "another one of its generation");
    is_int(put(pushed(6, "six", t, t + INTERVAL), NULL), CERTCTL_STORE_OLDER,
           "an older one");

    rotate(t + INTERVAL - 1);
    ok(set.pushed && set.n == 1, "this host makes none while it lasts");
    fresh = 1;
    rotate(t);
    fresh = 0;
    ok(set.pushed && memcmp(current(t), "seven", 6) == 0, "nor anew");
    rotate(t + INTERVAL);
    ok(!set.pushed && set.n == 2 && set.generation == 7, "but when it has ended");
    is_int(put(new, NULL), CERTCTL_STORE_OLDER, "it does not come back then");
    is_int(put(pushed(8, "eight", t, t + INTERVAL), NULL), 0, "a later one does");

    new = pushed(9, "nine", t, t + INTERVAL);
    new.flushed = 5000000;
    is_int(put(new, &epoch), 0, "one with an epoch");
    ok(epoch == 5000000 && certctl_store_flushed(store, &flushed) == 0
       && flushed == epoch, "flushes sessions to it");
    new.generation = 10;
    new.flushed = 4000000;
    is_int(put(new, &epoch), 0, "one with an earlier epoch");
    is_int(epoch, 5000000, "does not");
}

/* Octets that were pushed: the rule that they break, and nothing of them. */
static void
refuses(const char *rule, const u_char *data, size_t len, const char *what)
{
    const char  *why = certctl_ticket_set_parse(data, len, 500, &set);

    ok(why && strstr(why, rule), "%s: %s", what, why ? why : "taken");
}

static void
parses(void)
{
    u_char  good[24 + 104] = "tickets\1", bad[sizeof(good) + 1];

    good[15] = 1;                                /* generation */
    good[31] = 1;                                /* from */
    good[38] = 4;                                /* until 1024 */
    good[46] = 5;                                /* accept until 1280 */

    ok(certctl_ticket_set_parse(good, sizeof(good), 500, &set) == NULL,
       "a set of one key");
    ok(set.n == 1 && set.generation == 1 && set.key[0].from == 1
       && set.key[0].until == 1024 && set.key[0].accept == 1280, "as it was sent");

    memcpy(bad, good, sizeof(good));
    bad[sizeof(good)] = 0;
    refuses("not a set", bad, sizeof(bad), "an octet behind it");
    refuses("not a set", bad, sizeof(good) - 1, "cut");
    refuses("not a set", bad, 24, "no key");
    refuses("not a set", bad, 0, "nothing");
    bad[7] = 2;
    refuses("not a set", bad, sizeof(good), "another format");
    bad[7] = 1;
    bad[24] = 0x80;
    refuses("seconds since 1970", bad, sizeof(good), "a time before 1970");
    bad[24] = 0;
    bad[46] = 3;
    refuses("until a later", bad, sizeof(good), "accepted not to its end");
}

int
main(void)
{
    time_t  t = 1000000;

    store = test_open();

    is_int(certctl_store_ticket_set(store, &set), CERTCTL_STORE_NOT_FOUND,
           "no keys");
    rotates(t);
    pushes(t + 1000 * INTERVAL);
    parses();

    certctl_store_close(store);
    return done_testing();
}
