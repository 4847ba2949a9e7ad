// Modules, functions, launches. The sizes of a kernel's parameters are read from its cubin.
#include "fake.h"
#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PARAMS = 256, KPARAM_INFO = 0x17 };

typedef struct Module { uint64_t handle; Context *context; int functions; uint64_t *made; } Module;

typedef struct {
    Module *module;
    char name[512];
    int params;
    uint32_t sizes[MAX_PARAMS], offsets[MAX_PARAMS];
    int shared;  // MAX_DYNAMIC_SHARED_SIZE_BYTES
} Function;

// ---- images -------------------------------------------------------------------------------------

static Function *add_function(Module *m, const char *name) {
    Function *f = calloc(1, sizeof *f);
    f->module = m;
    f->shared = 49152;
    strncpy(f->name, name, sizeof f->name - 1);
    m->made = realloc(m->made, (m->functions + 1) * sizeof *m->made);
    m->made[m->functions++] = add_object(FUNCTION, f);
    return f;
}

// A section .nv.info.<kernel> is a list of (format, attribute, size or value, payload); the
// attribute KPARAM_INFO gives a parameter's ordinal and offset (u16) and, above bit 18, its size.
static void read_info(Function *f, const uint8_t *p, const uint8_t *end) {
    while (p + 4 <= end) {
        uint16_t size = (uint16_t)(p[2] | p[3] << 8);
        const uint8_t *payload = p + 4;
        p = payload + (p[0] == 4 ? size : 0);
        if (payload[-4] != 4 || payload[-3] != KPARAM_INFO || size < 12) continue;
        uint32_t words[3];
        memcpy(words, payload, 12);
        uint32_t ordinal = words[1] & 0xffff;
        if (ordinal >= MAX_PARAMS) continue;
        f->offsets[ordinal] = words[1] >> 16;
        f->sizes[ordinal] = words[2] >> 18;
        if ((int)ordinal >= f->params) f->params = (int)ordinal + 1;
    }
}

static int read_elf(Module *m, const uint8_t *image) {
    const Elf64_Ehdr *header = (const void *)image;
    const Elf64_Shdr *sections = (const void *)(image + header->e_shoff);
    const char *names = (const char *)image + sections[header->e_shstrndx].sh_offset;
    for (int i = 0; i < header->e_shnum; i++) {
        const char *name = names + sections[i].sh_name;
        if (strncmp(name, ".nv.info.", 9)) continue;
        const uint8_t *start = image + sections[i].sh_offset;
        read_info(add_function(m, name + 9), start, start + sections[i].sh_size);
    }
    return m->functions > 0;
}

// "fake NAME SIZE SIZE ...": one kernel, for tests that need none compiled.
static int read_text(Module *m, const char *image) {
    char copy[4096], *rest = NULL;
    strncpy(copy, image, sizeof copy - 1);
    copy[sizeof copy - 1] = 0;
    strtok_r(copy, " ", &rest);
    char *name = strtok_r(NULL, " ", &rest);
    if (!name) return 0;
    Function *f = add_function(m, name);
    for (char *t; (t = strtok_r(NULL, " ", &rest)) && f->params < MAX_PARAMS;)
        f->sizes[f->params++] = (uint32_t)atoi(t);
    return 1;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    ENTER("cuModuleLoadData", CURRENT, U(image));
    CUresult refused = unsafe_call();
    if (refused) RETURN(refused);
    Module *m = calloc(1, sizeof *m);
    m->context = current;
    int ok = !memcmp(image, ELFMAG, SELFMAG) ? read_elf(m, image)
           : !strncmp(image, "fake ", 5)     ? read_text(m, image) : 0;
    if (!ok) { free(m); RETURN(CUDA_ERROR_INVALID_IMAGE); }
    m->handle = add_object(MODULE, m);
    *module = (CUmodule)m->handle;
    GIVE(m->handle);
    RETURN(0);
}

CUresult cuModuleUnload(CUmodule module) {
    ENTER("cuModuleUnload", CURRENT, U(module));
    Module *m = find_object(MODULE, U(module));
    if (!m) RETURN(CUDA_ERROR_INVALID_HANDLE);
    CUresult refused = unsafe_call();
    if (refused) RETURN(refused);
    for (int i = 0; i < m->functions; i++) {
        free(find_object(FUNCTION, m->made[i]));
        drop_object(m->made[i]);
    }
    drop_object(m->handle);
    free(m->made);
    free(m);
    RETURN(0);
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    ENTER("cuModuleGetFunction", CURRENT, U(module));
    Module *m = find_object(MODULE, U(module));
    if (!m) RETURN(CUDA_ERROR_INVALID_HANDLE);
    for (int i = 0; i < m->functions; i++) {
        Function *f = find_object(FUNCTION, m->made[i]);
        if (strcmp(f->name, name)) continue;
        *function = (CUfunction)m->made[i];
        call_.record->text = f->name;
        GIVE(*function);
        RETURN(0);
    }
    RETURN(CUDA_ERROR_NOT_FOUND);
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute which, int value) {
    ENTER("cuFuncSetAttribute", CURRENT, U(function), which, value);
    Function *f = find_object(FUNCTION, U(function));
    if (!f) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if (which != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) RETURN(0);
    if (value < 0 || value > 232448) RETURN(CUDA_ERROR_INVALID_VALUE);
    f->shared = value;
    RETURN(0);
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute which, CUfunction function) {
    ENTER("cuFuncGetAttribute", CURRENT, which, U(function));
    Function *f = find_object(FUNCTION, U(function));
    if (!f) RETURN(CUDA_ERROR_INVALID_HANDLE);
    *value = which == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES ? f->shared
           : which == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK         ? 1024
           : which == CU_FUNC_ATTRIBUTE_NUM_REGS                      ? 32 : 0;
    RETURN(0);
}

// ---- launches -----------------------------------------------------------------------------------

static struct { char name[256]; uint64_t left; int code; } poison;

// The nth run of kernel `name` (a part of it) from now ends in error `code`, for ever after.
__attribute__((visibility("default"))) void fake_poison(const char *name, uint64_t nth, int code) {
    strncpy(poison.name, name, sizeof poison.name - 1);
    poison.left = nth;
    poison.code = code;
}

void launched(const char *name) {
    if (poison.left && strstr(name, poison.name) && --poison.left == 0) sticky = poison.code;
}

static void keep_params(Record *r, Function *f, void **params) {
    uint32_t size = 0;
    for (int i = 0; i < f->params; i++) size += 4 + f->sizes[i];
    uint8_t *p = r->params = malloc(size ? size : 1);
    r->params_size = size;
    for (int i = 0; i < f->params; i++) {
        memcpy(p, &f->sizes[i], 4);
        memcpy(p + 4, params[i], f->sizes[i]);
        p += 4 + f->sizes[i];
    }
}

CUresult cuLaunchKernel(CUfunction function, unsigned int x, unsigned int y, unsigned int z,
                        unsigned int threads_x, unsigned int threads_y, unsigned int threads_z,
                        unsigned int shared, CUstream stream, void **params, void **extra) {
    ENTER("cuLaunchKernel", CURRENT, U(function), x, y, z, threads_x, threads_y, threads_z, shared,
          U(stream));
    Function *f = find_object(FUNCTION, U(function));
    Stream *s = find_stream(stream);
    if (!f || !s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if (f->module->context != current || s->context != current) RETURN(CUDA_ERROR_INVALID_CONTEXT);
    uint64_t threads = (uint64_t)threads_x * threads_y * threads_z;
    if (!x || !y || !z || !threads || x > 2147483647u || y > 65535 || z > 65535 || threads > 1024)
        RETURN(CUDA_ERROR_INVALID_VALUE);
    if (shared > (unsigned)f->shared) RETURN(CUDA_ERROR_INVALID_VALUE);
    if (extra || (f->params && !params)) RETURN(CUDA_ERROR_INVALID_VALUE);
    call_.record->text = f->name;
    if (settings.record) keep_params(call_.record, f, params);
    RETURN(push(s, (Op){.kind = LAUNCH, .text = f->name}, call_.record));
}
