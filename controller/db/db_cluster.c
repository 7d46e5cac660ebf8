/*
 * The embedded default: a private PostgreSQL in the data directory, so that a
 * first start needs no set-up.  It listens on a unix socket in a folder that
 * only its user may enter, and dies with the daemon.
 */
#include "db.h"
#include "db_cluster_proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define CLUSTER_PATH_MAX   512
#define CLUSTER_ARGS       31
#define CLUSTER_START_MS   60000      /* crash recovery may take its time */
#define CLUSTER_LEFT_MS    20000      /* for what a killed server has left running */
#define CLUSTER_KILL_MS    2000       /* of which it may end by itself */
#define CLUSTER_TRIES      3
#define CLUSTER_STOP_MS    15000
#define CLUSTER_POLL_MS    20

struct db_cluster {
    char   bin[CLUSTER_PATH_MAX];
    char   dir[CLUSTER_PATH_MAX];       /* D/postgresql */
    char   data[CLUSTER_PATH_MAX + 8];
    char   conninfo[CLUSTER_PATH_MAX + 64];
    uid_t  uid;
    gid_t  gid;
    pid_t  pid;                         /* 0: not running */
};

/* Debian keeps each major version in a folder of its own: take the newest. */
static bool
cluster_find_bin(struct db_cluster *c, struct error *err)
{
    static const char  root[] = "/usr/lib/postgresql";
    const char        *path = getenv("CERTCTL_POSTGRESQL_BIN");
    struct dirent     *entry;
    DIR               *dir;
    long               best = 0, version;

    if (path) {
        snprintf(c->bin, sizeof(c->bin), "%s", path);
        return true;
    }

    dir = opendir(root);

    while (dir && (entry = readdir(dir)) != NULL) {
        version = strtol(entry->d_name, NULL, 10);
        snprintf(c->bin, sizeof(c->bin), "%s/%s/bin/postgres", root, entry->d_name);
        if (version > best && access(c->bin, X_OK) == 0) {
            best = version;
        }
    }

    if (dir) {
        closedir(dir);
    }

    if (best < 15) {
        return error_set(err, ERR_UNAVAILABLE, "no PostgreSQL 15 or later in %s: "
                         "install postgresql, or set database=postgres://...", root);
    }

    snprintf(c->bin, sizeof(c->bin), "%s/%ld/bin", root, best);

    return true;
}

/* PostgreSQL refuses to run as root: who shall it be? */
static bool
cluster_find_user(struct db_cluster *c, struct error *err)
{
    struct passwd  *pw;

    c->uid = geteuid();
    c->gid = getegid();

    if (c->uid != 0) {
        return true;
    }

    pw = getpwnam("postgres");
    if (pw == NULL) {
        pw = getpwnam("nobody");
    }

    if (pw == NULL || pw->pw_uid == 0) {
        return error_set(err, ERR_UNAVAILABLE,
                         "PostgreSQL cannot run as root: no user postgres or nobody");
    }

    c->uid = pw->pw_uid;
    c->gid = pw->pw_gid;

    return true;
}

/*
 * In the child.  The death signal is set after the change of user, which would
 * clear it; SIGQUIT stops PostgreSQL at once and it recovers from its log.
 */
static void
cluster_exec(struct db_cluster *c, char *const *argv, pid_t parent)
{
    char      path[CLUSTER_PATH_MAX + 64], *args[CLUSTER_ARGS + 1] = { NULL };
    sigset_t  none;
    int       fd, n;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);               /* Ctrl-C is for the daemon, which stops us */

    if (geteuid() == 0 && (setgroups(0, NULL) || setgid(c->gid) || setuid(c->uid))) {
        _exit(126);
    }

    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    if (getppid() != parent) {
        _exit(125);
    }

    snprintf(path, sizeof(path), "%s/server.log", c->dir);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0
        || chdir(c->dir) != 0)
    {
        _exit(126);
    }

    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(fd, STDIN_FILENO);

    /* PostgreSQL looks for its other programs where its own name says it is */
    snprintf(path, sizeof(path), "%s/%s", c->bin, argv[0]);
    args[0] = path;
    for (n = 1; argv[n - 1] && n < CLUSTER_ARGS; n++) {
        args[n] = argv[n];
    }

    execv(path, args);
    _exit(127);
}

static bool
cluster_spawn(struct db_cluster *c, char *const *argv, pid_t *pid, struct error *err)
{
    pid_t  parent = getpid();

    *pid = fork();

    if (*pid == 0) {
        cluster_exec(c, argv, parent);
    }

    return *pid > 0 || error_set(err, ERR_UNAVAILABLE, "fork: %s", strerror(errno));
}

/* initdb into a folder aside: a kill in its middle leaves nothing half made. */
static bool
cluster_init(struct db_cluster *c, struct error *err)
{
    char    fresh[CLUSTER_PATH_MAX + 16], trash[CLUSTER_PATH_MAX + 32];
    char   *argv[] = { "initdb", "-D", fresh, "-U", "certctl", "-A", "trust",
                       "-E", "UTF8", "--no-locale", "--data-checksums",
                       "--no-instructions", NULL };
    pid_t   pid;
    int     status = -1;

    if (access(c->data, F_OK) == 0) {
        return true;
    }

    snprintf(fresh, sizeof(fresh), "%s/new", c->dir);
    snprintf(trash, sizeof(trash), "%s/new.%ld", c->dir, (long) time(NULL));
    rename(fresh, trash);         /* of a first start that was killed */

    if (!cluster_spawn(c, argv, &pid, err)) {
        return false;
    }

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) { /* void */ }

    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return error_set(err, ERR_UNAVAILABLE,
                         "initdb failed: see %s/server.log", c->dir);
    }

    return rename(fresh, c->data) == 0
           || error_set(err, ERR_UNAVAILABLE, "%s: %s", c->data, strerror(errno));
}

static bool
cluster_folder(struct db_cluster *c, struct error *err)
{
    struct stat  st;

    if ((mkdir(c->dir, 0700) != 0 && errno != EEXIST)
        || lstat(c->dir, &st) != 0 || !S_ISDIR(st.st_mode))
    {
        return error_set(err, ERR_UNAVAILABLE, "%s: %s", c->dir, strerror(errno));
    }

    if (geteuid() == 0 && st.st_uid != c->uid
        && chown(c->dir, c->uid, c->gid) != 0)
    {
        return error_set(err, ERR_UNAVAILABLE, "%s: %s", c->dir, strerror(errno));
    }

    if (st.st_mode & 077) {
        return error_set(err, ERR_INVALID, "%s must not be open to others: "
                         "its mode is %03o, 700 is wanted", c->dir, st.st_mode & 0777);
    }

    return true;
}

static void
cluster_sleep(void)
{
    nanosleep(&(struct timespec) { .tv_nsec = CLUSTER_POLL_MS * 1000000L }, NULL);
}

/*
 * Waits until no process of an earlier server runs.  A server whose certctld was
 * killed is shutting down; the processes of one that was itself killed end by
 * themselves, or are ended, since nothing can use them any more.
 */
static bool
cluster_clear(struct db_cluster *c, struct error *err)
{
    int    waited, orphans;
    pid_t  server;

    for (waited = 0; waited < CLUSTER_LEFT_MS; waited += CLUSTER_POLL_MS) {
        server = db_cluster_server(c->data, waited < CLUSTER_KILL_MS ? SIGQUIT : SIGKILL,
                                   &orphans);

        if (server == 0 && orphans == 0) {
            db_cluster_unlock(c->data, c->dir);
            return true;
        }

        cluster_sleep();
    }

    return error_set(err, ERR_UNAVAILABLE, "another PostgreSQL server (process %ld) runs on "
                     "%s: stop it, then start certctld", (long) server, c->data);
}

/*
 * Waits until the server answers; false when it has exited, or is not ready after
 * the time that a recovery may take.
 */
static bool
cluster_ready(struct db_cluster *c)
{
    int  waited, status;

    for (waited = 0; waited < CLUSTER_START_MS; waited += CLUSTER_POLL_MS) {
        cluster_sleep();

        if (waitpid(c->pid, &status, WNOHANG) == c->pid) {
            c->pid = 0;
            return false;
        }

        if (PQping(c->conninfo) == PQPING_OK) {
            return true;
        }
    }

    return false;
}

/*
 * JIT fails statements where memory may not be made executable (the unit's
 * MemoryDenyWriteExecute), and ours are too short to gain by it.  A recovery that
 * syncs each file by itself takes seconds more than one that syncs the file system.
 */
static bool
cluster_run(struct db_cluster *c, struct error *err)
{
    char   socket_dir[CLUSTER_PATH_MAX + 40], log[CLUSTER_PATH_MAX + 16], reason[200];
    char  *argv[] = { "postgres", "-D", c->data, "-c", "listen_addresses=",
                      "-c", socket_dir, "-c", "unix_socket_permissions=0700",
                      "-c", "shared_buffers=32MB", "-c", "max_connections=100",
                      "-c", "log_min_messages=warning", "-c", "jit=off",
                      "-c", "recovery_init_sync_method=syncfs", NULL };
    struct stat  st;

    snprintf(socket_dir, sizeof(socket_dir), "unix_socket_directories=%s", c->dir);
    snprintf(log, sizeof(log), "%s/server.log", c->dir);

    if (stat(log, &st) != 0) {
        st.st_size = 0;
    }

    for (int i = 0; i < CLUSTER_TRIES && (i == 0 || c->pid == 0); i++) {
        if (c->pid == 0 && (!cluster_clear(c, err) || !cluster_spawn(c, argv, &c->pid, err))) {
            return false;
        }

        if (cluster_ready(c)) {
            return true;
        }
    }

    db_cluster_reason(log, st.st_size, reason, sizeof(reason));

    return error_set(err, ERR_UNAVAILABLE, "PostgreSQL does not start: %s: see %s",
                     c->pid ? "it is not ready yet" : reason[0] ? reason : "it exits", log);
}

struct db_cluster *
db_cluster_start(const char *dir, struct error *err)
{
    struct db_cluster  *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        error_set(err, ERR_INTERNAL, "out of memory");
        return NULL;
    }

    /* sun_path holds 107 characters */
    if (strlen(dir) > 75) {
        error_set(err, ERR_INVALID, "%s: a data directory with its own PostgreSQL "
                  "may have 75 characters, for the unix socket in it", dir);
        goto failed;
    }

    snprintf(c->dir, sizeof(c->dir), "%s/postgresql", dir);
    snprintf(c->data, sizeof(c->data), "%s/data", c->dir);
    snprintf(c->conninfo, sizeof(c->conninfo),
             "host=%s user=certctl dbname=postgres", c->dir);

    if (!cluster_find_bin(c, err) || !cluster_find_user(c, err)
        || !cluster_folder(c, err) || !cluster_init(c, err)
        || !cluster_run(c, err))
    {
        goto failed;
    }

    return c;

failed:

    db_cluster_stop(c);
    return NULL;
}

const char *
db_cluster_conninfo(const struct db_cluster *c)
{
    return c->conninfo;
}

bool
db_cluster_check(struct db_cluster *c, struct error *err)
{
    int  status;

    if (c->pid && waitpid(c->pid, &status, WNOHANG) != c->pid) {
        return true;
    }

    c->pid = 0;

    return cluster_run(c, err);
}

/* SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one. */
void
db_cluster_stop(struct db_cluster *c)
{
    int  status, waited;

    if (c == NULL) {
        return;
    }

    if (c->pid) {
        kill(c->pid, SIGINT);
    }

    for (waited = 0; c->pid; waited += CLUSTER_POLL_MS) {
        if (waitpid(c->pid, &status, WNOHANG) != 0) {
            break;
        }
        if (waited == CLUSTER_STOP_MS) {
            kill(c->pid, SIGQUIT);
        }
        cluster_sleep();
    }

    free(c);
}
