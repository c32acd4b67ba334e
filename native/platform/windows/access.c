/* access: who may change a file, by its access list. */
#include "platform/windows/inner.h"

#include <aclapi.h>
#include <io.h>
#include <sddl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What lets somebody replace a file, or what is in a folder. To put something new beside it is not
 * among it: nothing is found by search there. */
enum {
    CHANGES = DELETE | WRITE_DAC | WRITE_OWNER,
    CHANGES_FILE = CHANGES | FILE_WRITE_DATA | FILE_APPEND_DATA,
    CHANGES_FOLDER = CHANGES | FILE_DELETE_CHILD,
};

typedef struct user {
    uint64_t room[(sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE + 7) / 8];
} user;

static PSID own_user(user *out) {
    HANDLE token;
    DWORD len = 0;
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token))
        return NULL;
    const BOOL got = GetTokenInformation(token, TokenUser, out, sizeof *out, &len);
    CloseHandle(token);
    return got ? ((const TOKEN_USER *)out)->User.Sid : NULL;
}

/* This user, the system, its administrators, what installs it; and who stands for the owner. */
static bool is_trusted(PSID who, PSID own) {
    static const char *const names[] = {
        "S-1-5-18", "S-1-5-32-544", "S-1-3-0", "S-1-3-4",
        "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",
    };
    char *text = NULL;
    bool found = own != NULL && EqualSid(who, own);
    if (found || !ConvertSidToStringSidA(who, &text))
        return found;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        found |= strcmp(text, names[i]) == 0;
    LocalFree(text);
    return found;
}

static void name_of(PSID who, char *out, size_t room) {
    wchar_t name[256];
    wchar_t domain[256];
    DWORD name_len = 256;
    DWORD domain_len = 256;
    SID_NAME_USE use;
    char *text = NULL;
    if (LookupAccountSidW(NULL, who, name, &name_len, domain, &domain_len, &use)) {
        ss_windows_text(name, out, room);
    } else if (ConvertSidToStringSidA(who, &text)) {
        snprintf(out, room, "%s", text);
        LocalFree(text);
    } else {
        snprintf(out, room, "somebody unknown");
    }
}

/* True where an entry lets somebody change it whom nobody trusts; that is its `who`. */
static bool lets_others(ACL *list, bool folder, PSID own, PSID *who) {
    const DWORD generic = GENERIC_ALL | (folder ? 0 : GENERIC_WRITE);
    const DWORD changes = (folder ? CHANGES_FOLDER : CHANGES_FILE) | generic;
    for (DWORD i = 0; i < list->AceCount; i++) {
        ACCESS_ALLOWED_ACE *entry;
        if (!GetAce(list, i, (void **)&entry) ||
            entry->Header.AceType != ACCESS_ALLOWED_ACE_TYPE ||
            (entry->Header.AceFlags & INHERIT_ONLY_ACE) != 0 || (entry->Mask & changes) == 0)
            continue;
        *who = &entry->SidStart;
        if (!is_trusted(*who, own))
            return true;
    }
    return false;
}

static int32_t judge(PSID owner, ACL *list, bool folder, char *out, size_t room) {
    user us;
    PSID own = own_user(&us);
    PSID who = owner;
    if (list == NULL) {
        snprintf(out, room, "everybody: it has no access list");
        return 1;
    }
    if (is_trusted(owner, own) && !lets_others(list, folder, own, &who))
        return 0;
    name_of(who, out, room);
    return 1;
}

int32_t ss_os_who_may_write(const char *path, int fd, bool folder, char *out, size_t room) {
    const SECURITY_INFORMATION wanted = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    PSID owner = NULL;
    ACL *list = NULL;
    PSECURITY_DESCRIPTOR all = NULL;
    DWORD error = ERROR_INVALID_NAME;
    wchar_t *wide = malloc(SS_WINDOWS_PATH * sizeof *wide);
    out[0] = '\0';
    if (fd >= 0)
        error = GetSecurityInfo((HANDLE)_get_osfhandle(fd), SE_FILE_OBJECT, wanted, &owner, NULL,
                                &list, NULL, &all);
    else if (wide != NULL && ss_windows_path(path, wide))
        error = GetNamedSecurityInfoW(wide, SE_FILE_OBJECT, wanted, &owner, NULL, &list, NULL, &all);
    free(wide);
    if (error == ERROR_SUCCESS && owner != NULL) {
        const int32_t found = judge(owner, list, folder, out, room);
        LocalFree(all);
        return found;
    }
    LocalFree(all);
    snprintf(out, room, "error %lu", error);
    return -1;
}
