/*
 * Threads end late: what OpenSSL left to do at a thread's end happens when the
 * process, which is exiting, has already cleaned OpenSSL up. Without this it takes
 * a busy machine and some hundred exits to see the two meet.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEYS       8
#define WAIT       2000000         /* microseconds that an end waits for the exit */
#define REMAINING  50000           /* and that the exit leaves to those ends */
#define STEP       100

/* Destructors of thread-specific values, as libcrypto wants them. */
static void      (*destructors[KEYS])(void *);
static int         keys;
static atomic_bool cleaned;

static void
end_late(int key, void *value)
{
    for (int us = 0; us < WAIT && !cleaned; us += STEP) {
        usleep(STEP);
    }

    destructors[key](value);
}

#define LATE(n)  static void late_##n(void *value) { end_late(n, value); }
LATE(0) LATE(1) LATE(2) LATE(3) LATE(4) LATE(5) LATE(6) LATE(7)

static void (*const late[KEYS])(void *) = {
    late_0, late_1, late_2, late_3, late_4, late_5, late_6, late_7
};

/* Handlers run last to first: OpenSSL's, which was set later, has been run. */
static void
at_exit(void)
{
    static const char  said[] = "late_end: threads may end\n";

    cleaned = write(STDERR_FILENO, said, sizeof(said) - 1) > 0;
    usleep(REMAINING);
}

int
pthread_key_create(pthread_key_t *key, void (*destructor)(void *))
{
    static int (*create)(pthread_key_t *, void (*)(void *));
    Dl_info      where;

    if (create == NULL) {
        *(void **) &create = dlsym(RTLD_NEXT, "pthread_key_create");
    }

    if (destructor != NULL && keys < KEYS
        && dladdr(*(void **) &destructor, &where) && where.dli_fname != NULL
        && strstr(where.dli_fname, "libcrypto") != NULL)
    {
        if (keys == 0) {
            atexit(at_exit);            /* OpenSSL sets its own after this */
        }

        destructors[keys] = destructor;
        destructor = late[keys++];
    }

    return create(key, destructor);
}
