// Which function answers to which name: all that the bindings look for in the library itself.
#include "fake.h"
#include <string.h>

static CUresult unsupported(void) { return CUDA_ERROR_NOT_SUPPORTED; }

static const struct { CUresult code; const char *name, *text; } ERRORS[] = {
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {4, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {716, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {904, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
    {905, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work in another stream"},
    {906, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "operation would make the legacy stream depend on a capturing blocking stream"},
};

static CUresult describe(CUresult error, const char **to, int which) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == error) {
            *to = which ? ERRORS[i].text : ERRORS[i].name;
            return 0;
        }
    *to = NULL;
    return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorName(CUresult error, const char **name) { return describe(error, name, 0); }
CUresult cuGetErrorString(CUresult error, const char **text) { return describe(error, text, 1); }

#define ANSWER(name, function, since) {name, (void *)function, since}
static const struct { const char *name; void *function; int since; } ENTRIES[] = {
    ANSWER("cuInit", cuInit, 2000),
    ANSWER("cuDriverGetVersion", cuDriverGetVersion, 2020),
    ANSWER("cuGetErrorName", cuGetErrorName, 6000),
    ANSWER("cuGetErrorString", cuGetErrorString, 6000),
    ANSWER("cuDeviceGetCount", cuDeviceGetCount, 2000),
    ANSWER("cuDeviceGet", cuDeviceGet, 2000),
    ANSWER("cuDeviceGetName", cuDeviceGetName, 2000),
    ANSWER("cuDeviceGetUuid", cuDeviceGetUuid_v2, 11040),
    ANSWER("cuDeviceTotalMem", cuDeviceTotalMem_v2, 3020),
    ANSWER("cuDeviceGetAttribute", cuDeviceGetAttribute, 2000),
    ANSWER("cuDeviceCanAccessPeer", cuDeviceCanAccessPeer, 4000),
    ANSWER("cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain, 7000),
    ANSWER("cuDevicePrimaryCtxRelease", cuDevicePrimaryCtxRelease_v2, 11000),
    ANSWER("cuDevicePrimaryCtxGetState", cuDevicePrimaryCtxGetState, 7000),
    ANSWER("cuCtxSetCurrent", cuCtxSetCurrent, 4000),
    ANSWER("cuCtxGetCurrent", cuCtxGetCurrent, 4000),
    ANSWER("cuCtxGetDevice", cuCtxGetDevice, 2000),
    ANSWER("cuCtxGetStreamPriorityRange", cuCtxGetStreamPriorityRange, 5050),
    ANSWER("cuCtxSynchronize", cuCtxSynchronize, 2000),
    ANSWER("cuProfilerStart", cuProfilerStart, 4000),
    ANSWER("cuProfilerStop", cuProfilerStop, 4000),
    ANSWER("cuMemGetInfo", cuMemGetInfo_v2, 3020),
    ANSWER("cuMemAlloc", cuMemAlloc_v2, 3020),
    ANSWER("cuMemFree", cuMemFree_v2, 3020),
    ANSWER("cuMemAllocAsync", cuMemAllocAsync, 11020),
    ANSWER("cuMemAllocFromPoolAsync", cuMemAllocFromPoolAsync, 11020),
    ANSWER("cuMemFreeAsync", cuMemFreeAsync, 11020),
    ANSWER("cuDeviceGetDefaultMemPool", cuDeviceGetDefaultMemPool, 11020),
    ANSWER("cuMemPoolTrimTo", cuMemPoolTrimTo, 11020),
    ANSWER("cuMemPoolSetAttribute", cuMemPoolSetAttribute, 11020),
    ANSWER("cuMemPoolGetAttribute", cuMemPoolGetAttribute, 11020),
    ANSWER("cuPointerGetAttribute", cuPointerGetAttribute, 4000),
    ANSWER("cuMemHostAlloc", cuMemHostAlloc, 2020),
    ANSWER("cuMemFreeHost", cuMemFreeHost, 2000),
    ANSWER("cuMemcpyHtoDAsync", cuMemcpyHtoDAsync_v2, 3020),
    ANSWER("cuMemcpyDtoHAsync", cuMemcpyDtoHAsync_v2, 3020),
    ANSWER("cuMemcpyDtoDAsync", cuMemcpyDtoDAsync_v2, 3020),
    ANSWER("cuMemcpyPeerAsync", cuMemcpyPeerAsync, 4000),
    ANSWER("cuMemsetD8Async", cuMemsetD8Async, 3020),
    ANSWER("cuStreamCreateWithPriority", cuStreamCreateWithPriority, 5050),
    ANSWER("cuStreamDestroy", cuStreamDestroy_v2, 4000),
    ANSWER("cuStreamGetPriority", cuStreamGetPriority, 5050),
    ANSWER("cuStreamSynchronize", cuStreamSynchronize, 2000),
    ANSWER("cuStreamQuery", cuStreamQuery, 2000),
    ANSWER("cuStreamWaitEvent", cuStreamWaitEvent, 3020),
    ANSWER("cuStreamBeginCapture", cuStreamBeginCapture_v2, 10010),
    ANSWER("cuStreamEndCapture", cuStreamEndCapture, 10000),
    ANSWER("cuStreamIsCapturing", cuStreamIsCapturing, 10000),
    ANSWER("cuStreamGetCaptureInfo", cuStreamGetCaptureInfo_v3, 12030),
    ANSWER("cuThreadExchangeStreamCaptureMode", cuThreadExchangeStreamCaptureMode, 10010),
    ANSWER("cuEventCreate", cuEventCreate, 2000),
    ANSWER("cuEventDestroy", cuEventDestroy_v2, 4000),
    ANSWER("cuEventRecord", cuEventRecord, 2000),
    ANSWER("cuEventQuery", cuEventQuery, 2000),
    ANSWER("cuEventSynchronize", cuEventSynchronize, 2000),
    ANSWER("cuEventElapsedTime", cuEventElapsedTime_v2, 2000),
    ANSWER("cuModuleLoadData", cuModuleLoadData, 2000),
    ANSWER("cuModuleUnload", cuModuleUnload, 2000),
    ANSWER("cuModuleGetFunction", cuModuleGetFunction, 2000),
    ANSWER("cuFuncSetAttribute", cuFuncSetAttribute, 9000),
    ANSWER("cuFuncGetAttribute", cuFuncGetAttribute, 2020),
    ANSWER("cuLaunchKernel", cuLaunchKernel, 4000),
    ANSWER("cuGraphInstantiateWithFlags", cuGraphInstantiateWithFlags, 11040),
    ANSWER("cuGraphLaunch", cuGraphLaunch, 10000),
    ANSWER("cuGraphExecDestroy", cuGraphExecDestroy, 10000),
    ANSWER("cuGraphDestroy", cuGraphDestroy, 10000),
    ANSWER("cuGraphGetNodes", cuGraphGetNodes, 10000),
};

CUresult cuGetProcAddress_v2(const char *name, void **function, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult *status) {
    (void)flags;
    *function = NULL;
    if (version > settings.version) {
        if (status) *status = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
        return CUDA_ERROR_NOT_FOUND;
    }
    *function = !strcmp(name, "cuGetProcAddress") ? (void *)cuGetProcAddress_v2 : (void *)unsupported;
    for (size_t i = 0; i < sizeof ENTRIES / sizeof *ENTRIES; i++)
        if (!strcmp(ENTRIES[i].name, name) && ENTRIES[i].since <= version)
            *function = ENTRIES[i].function;
    if (status) *status = CU_GET_PROC_ADDRESS_SUCCESS;
    return 0;
}
