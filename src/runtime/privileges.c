/* privileges.c: what only root may do is done, then given up. */
#include "loomgate/runtime/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

bool privileges_find_user(const char *name, uid_t *uid, struct error *e) {
    uint64_t number;
    if (slice_to_u64(slice_of(name), UINT32_MAX - 1, &number)) return *uid = (uid_t)number, true;
    const struct passwd *p = getpwnam(name);
    if (!p) return error_set(e, "there is no user '%s'", name);
    *uid = p->pw_uid;
    return true;
}

bool privileges_find_group(const char *name, gid_t *gid, struct error *e) {
    uint64_t number;
    if (slice_to_u64(slice_of(name), UINT32_MAX - 1, &number)) return *gid = (gid_t)number, true;
    const struct group *g = getgrnam(name);
    if (!g) return error_set(e, "there is no group '%s'", name);
    *gid = g->gr_gid;
    return true;
}

/* Names are looked up before chroot, while their files can be read. */
bool privileges_drop(const struct global_settings *g, struct error *e) {
    uid_t uid = 0;
    gid_t gid = 0;
    if (g->user) {
        const struct passwd *p = getpwnam(g->user);
        if (!p) return error_set(e, "global.user: there is no user '%s'", g->user);
        uid = p->pw_uid;
        gid = p->pw_gid;
    }
    if (g->group) {
        const struct group *found = getgrnam(g->group);
        if (!found) return error_set(e, "global.group: there is no group '%s'", g->group);
        gid = found->gr_gid;
    }
    if ((g->user || g->group) && geteuid() == 0) {
        int failed = g->user ? initgroups(g->user, gid) : setgroups(0, NULL);
        if (failed) return error_set_errno(e, "cannot set the groups");
    }
    if (g->chroot && (chroot(g->chroot) != 0 || chdir("/") != 0))
        return error_set_errno(e, "global.chroot: cannot change root to '%s'", g->chroot);
    if ((g->user || g->group) && setgid(gid) != 0) return error_set_errno(e, "cannot become group %u", (unsigned)gid);
    if (g->user && setuid(uid) != 0) return error_set_errno(e, "cannot become user '%s'", g->user);
    if (g->user && uid != 0 && setuid(0) == 0)
        return error_set(e, "root's privileges came back after they were dropped");
    return true;
}

uint64_t privileges_raise_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

/* The table grows for the highest number that was ever in use, and never shrinks. */
void privileges_reserve_descriptors(uint64_t count) {
    uint64_t limit = privileges_raise_descriptors();
    if (count > limit) count = limit;
    if (!count || count > INT_MAX) return;
    int any = eventfd(0, EFD_CLOEXEC);
    if (any < 0) return;
    int highest = fcntl(any, F_DUPFD_CLOEXEC, (int)count - 1);
    if (highest >= 0) close(highest);
    close(any);
}
