// Causal attention of bf16 heads, forward and backward, without scores in memory
// (FlashAttention-2, arXiv 2307.08691): tensor cores of sm_80 and later, sums in f32.
//
// What precedes this text: PART (0: forward; 1: what the backward pass needs of the gradient;
// 2: gradients of keys and values; 3: gradients of queries) and DIM, the width of a head: 32, 64 or
// 128. Every sum has one order, and no two blocks write to one place.
//
// A block of four warps has 64 rows of queries, or of keys, each warp 16 of them.

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;

struct Sizes {
    u64 seq;
    // Heads of queries, and how many of them share a head of keys.
    u64 heads, group;
    u64 tokens;
};

#define ROWS 64
#define CHUNKS (DIM / 8)
#define TILE_BYTES (ROWS * DIM * 2)
#define LOG2E 1.4426950408889634f

#if DIM == 32
#define PLACE(row, chunk) ((chunk) ^ (((row) >> 1) & 3))
#else
#define PLACE(row, chunk) ((chunk) ^ ((row) & 7))
#endif
#define AT(tile, row, chunk) ((tile) + (row) * (DIM * 2) + (PLACE(row, chunk) << 4))

#define LDMATRIX(r0, r1, r2, r3, at)                                                          \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"            \
                 : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)                                     \
                 : "r"(at))
#define LDMATRIX_TRANS(r0, r1, r2, r3, at)                                                    \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"      \
                 : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)                                     \
                 : "r"(at))
#define COMMIT asm volatile("cp.async.commit_group;\n")
#define WAIT(n) asm volatile("cp.async.wait_group %0;\n" ::"n"(n))

__device__ __forceinline__ u32 pack(float low, float high) {
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

__device__ __forceinline__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Copies rows r0.. of a head; those behind the end of the sequence become zero.
__device__ __forceinline__ void load_tile(u32 to, const u16* head, int r0, int seq) {
#pragma unroll
    for (int i = 0; i < ROWS * CHUNKS / 128; i++) {
        int id = threadIdx.x + i * 128;
        int row = id / CHUNKS, chunk = id % CHUNKS;
        bool inside = r0 + row < seq;
        const u16* from = inside ? head + (u64)(r0 + row) * DIM + chunk * 8 : head;
        int bytes = inside ? 16 : 0;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(AT(to, row, chunk)),
                     "l"(from), "r"(bytes));
    }
}

// Rows of this warp as the first operand, 16 of the dimension at a time.
__device__ __forceinline__ void load_rows(u32 (&f)[4], u32 tile, int k) {
    int lane = threadIdx.x & 31, row = (threadIdx.x >> 5) * 16 + (lane & 15);
    LDMATRIX(f[0], f[1], f[2], f[3], AT(tile, row, k * 2 + (lane >> 4)));
}

// c[rows of the warp][rows of the tile] += rows · tileᵀ, summed over the dimension.
#define TIMES_TILE_TRANSPOSED(c, rows, tile)                                                  \
    _Pragma("unroll") for (int k = 0; k < DIM / 16; k++) {                                    \
        u32 a_[4];                                                                            \
        load_rows(a_, rows, k);                                                               \
        _Pragma("unroll") for (int j = 0; j < ROWS / 16; j++) {                               \
            int row_ = j * 16 + (lane & 7) + ((lane >> 4) << 3);                              \
            u32 b_[4];                                                                        \
            LDMATRIX(b_[0], b_[1], b_[2], b_[3], AT(tile, row_, k * 2 + ((lane >> 3) & 1)));  \
            multiply(c[2 * j], a_, b_[0], b_[1]);                                             \
            multiply(c[2 * j + 1], a_, b_[2], b_[3]);                                         \
        }                                                                                     \
    }

// c[rows of the warp][dimension] += p · tile, summed over the rows of the tile, where p are values
// in the layout of a result, which are rounded to bf16.
#define VALUES_TIMES_TILE(c, p, tile)                                                         \
    _Pragma("unroll") for (int k = 0; k < ROWS / 16; k++) {                                   \
        u32 a_[4] = {pack(p[2 * k][0], p[2 * k][1]), pack(p[2 * k][2], p[2 * k][3]),          \
                     pack(p[2 * k + 1][0], p[2 * k + 1][1]),                                  \
                     pack(p[2 * k + 1][2], p[2 * k + 1][3])};                                 \
        _Pragma("unroll") for (int j = 0; j < DIM / 16; j++) {                                \
            int row_ = k * 16 + (lane & 15);                                                  \
            u32 b_[4];                                                                        \
            LDMATRIX_TRANS(b_[0], b_[1], b_[2], b_[3], AT(tile, row_, j * 2 + (lane >> 4)));  \
            multiply(c[2 * j], a_, b_[0], b_[1]);                                             \
            multiply(c[2 * j + 1], a_, b_[2], b_[3]);                                         \
        }                                                                                     \
    }

#define SHARED_ADDRESS                                                                        \
    extern __shared__ __align__(128) unsigned char memory[];                                  \
    u32 shared;                                                                               \
    asm("{ .reg .u64 t; cvta.to.shared.u64 t, %1; cvt.u32.u64 %0, t; }"                       \
        : "=r"(shared)                                                                        \
        : "l"(memory))

template <int N>
__device__ __forceinline__ void clear(float (&c)[N][4]) {
#pragma unroll
    for (int i = 0; i < N; i++)
#pragma unroll
        for (int e = 0; e < 4; e++) c[i][e] = 0.0f;
}

#if PART == 0

// out: [tokens, heads · DIM]; log_sums: [batch · heads, seq], to the base of 2.
extern "C" __global__ void __launch_bounds__(128) attention_forward(
    const u16* __restrict__ q, const u16* __restrict__ k, const u16* __restrict__ v,
    float* __restrict__ out, float* __restrict__ log_sums, const __grid_constant__ Sizes sizes) {
    SHARED_ADDRESS;
    const int seq = sizes.seq, heads = sizes.heads, group = sizes.group;
    // The longest first.
    const int m0 = (gridDim.x - 1 - blockIdx.x) * ROWS;
    const int head = blockIdx.y % heads, sequence = blockIdx.y / heads;
    const int of_keys = sequence * (heads / group) + head / group;
    q += (u64)blockIdx.y * seq * DIM;
    k += (u64)of_keys * seq * DIM;
    v += (u64)of_keys * seq * DIM;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int row = m0 + warp * 16 + (lane >> 2);
    const u32 tile_q = shared;
    const int tiles = m0 / ROWS + 1;

    load_tile(tile_q, q, m0, seq);
    load_tile(shared + TILE_BYTES, k, 0, seq);
    load_tile(shared + 2 * TILE_BYTES, v, 0, seq);
    COMMIT;

    float o[DIM / 8][4], highest[2] = {-1e30f, -1e30f}, total[2] = {0.0f, 0.0f};
    clear(o);
    for (int t = 0; t < tiles; t++) {
        const u32 tile_k = shared + (1 + 2 * (t & 1)) * TILE_BYTES, tile_v = tile_k + TILE_BYTES;
        WAIT(0);
        __syncthreads();
        if (t + 1 < tiles) {
            const u32 next = shared + (1 + 2 * ((t + 1) & 1)) * TILE_BYTES;
            load_tile(next, k, (t + 1) * ROWS, seq);
            load_tile(next + TILE_BYTES, v, (t + 1) * ROWS, seq);
        }
        COMMIT;
        float s[ROWS / 8][4];
        clear(s);
        TIMES_TILE_TRANSPOSED(s, tile_q, tile_k);
        const bool diagonal = t + 1 == tiles;
        float top[2] = {highest[0], highest[1]};
#pragma unroll
        for (int j = 0; j < ROWS / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int column = t * ROWS + j * 8 + (lane & 3) * 2 + (e & 1);
                float x = s[j][e] * LOG2E;
                if (diagonal && column > row + (e >> 1) * 8) x = -1e30f;
                s[j][e] = x;
                top[e >> 1] = fmaxf(top[e >> 1], x);
            }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            top[h] = fmaxf(top[h], __shfl_xor_sync(~0u, top[h], 1));
            top[h] = fmaxf(top[h], __shfl_xor_sync(~0u, top[h], 2));
            float shrink = power_of_two(highest[h] - top[h]);
            highest[h] = top[h];
            total[h] *= shrink;
#pragma unroll
            for (int j = 0; j < DIM / 8; j++) {
                o[j][2 * h] *= shrink;
                o[j][2 * h + 1] *= shrink;
            }
        }
#pragma unroll
        for (int j = 0; j < ROWS / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                s[j][e] = power_of_two(s[j][e] - highest[e >> 1]);
                total[e >> 1] += s[j][e];
            }
        VALUES_TIMES_TILE(o, s, tile_v);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        total[h] += __shfl_xor_sync(~0u, total[h], 1);
        total[h] += __shfl_xor_sync(~0u, total[h], 2);
        int r = row + h * 8;
        if (r >= seq) continue;
        float factor = 1.0f / total[h];
        float* to = out + ((u64)sequence * seq + r) * heads * DIM + head * DIM + (lane & 3) * 2;
#pragma unroll
        for (int j = 0; j < DIM / 8; j++)
            *(float2*)(to + j * 8) = make_float2(o[j][2 * h] * factor, o[j][2 * h + 1] * factor);
        if ((lane & 3) == 0) log_sums[(u64)blockIdx.y * seq + r] = highest[h] + log2f(total[h]);
    }
}

#elif PART == 1

// A warp has a head of a token: the gradient of its output head by head, in bf16, and the sum of
// gradient times output.
extern "C" __global__ void __launch_bounds__(128) attention_gradient(
    const float* __restrict__ grad, const float* __restrict__ out, u16* __restrict__ rounded,
    float* __restrict__ deltas, const __grid_constant__ Sizes sizes) {
    const u64 index = (u64)blockIdx.x * 4 + (threadIdx.x >> 5);
    const int lane = threadIdx.x & 31, heads = sizes.heads, seq = sizes.seq;
    if (index >= sizes.tokens * heads) return;
    const u64 token = index / heads, head = index % heads;
    const u64 to = (token / seq * heads + head) * seq + token % seq;
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < DIM / 32; i++) {
        float g = grad[index * DIM + i * 32 + lane];
        sum += g * out[index * DIM + i * 32 + lane];
        rounded[to * DIM + i * 32 + lane] = (u16)pack(g, 0.0f);
    }
#pragma unroll
    for (int step = 16; step > 0; step >>= 1) sum += __shfl_xor_sync(~0u, sum, step);
    if (lane == 0) deltas[to] = sum;
}

#elif PART == 2

extern "C" __global__ void __launch_bounds__(128) attention_keys_values(
    const u16* __restrict__ q, const u16* __restrict__ k, const u16* __restrict__ v,
    const u16* __restrict__ grad, const float* __restrict__ log_sums,
    const float* __restrict__ deltas, float* __restrict__ dk, float* __restrict__ dv,
    const __grid_constant__ Sizes sizes) {
    SHARED_ADDRESS;
    const int seq = sizes.seq, heads = sizes.heads, group = sizes.group;
    const int n0 = blockIdx.x * ROWS;
    const int kv_heads = heads / group;
    const int head = blockIdx.y % kv_heads, sequence = blockIdx.y / kv_heads;
    const u64 keys = (u64)blockIdx.y * seq * DIM;
    const int first_head = sequence * heads + head * group;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const u32 tile_k = shared, tile_v = shared + TILE_BYTES;
    // Queries and gradients, two of each.
    const u32 tiles_qg = shared + 2 * TILE_BYTES;
    float* numbers = (float*)(memory + 6 * TILE_BYTES);
    const int first_tile = n0 / ROWS, last_tile = (seq + ROWS - 1) / ROWS;
    const int count = last_tile - first_tile, all = count * group;

    auto load = [&](int i) {
        const u64 at = (u64)(first_head + i / count) * seq;
        const int m0 = (first_tile + i % count) * ROWS;
        const u32 to = tiles_qg + (i & 1) * 2 * TILE_BYTES;
        load_tile(to, q + at * DIM, m0, seq);
        load_tile(to + TILE_BYTES, grad + at * DIM, m0, seq);
        // Of queries behind the end, which count nothing: their exponentials become zero.
        if (threadIdx.x < ROWS) {
            const int r = m0 + threadIdx.x;
            numbers[(i & 1) * 2 * ROWS + threadIdx.x] = r < seq ? log_sums[at + r] : 1e30f;
            numbers[(i & 1) * 2 * ROWS + ROWS + threadIdx.x] = r < seq ? deltas[at + r] : 0.0f;
        }
    };
    load_tile(tile_k, k + keys, n0, seq);
    load_tile(tile_v, v + keys, n0, seq);
    load(0);
    COMMIT;

    float gk[DIM / 8][4], gv[DIM / 8][4];
    clear(gk);
    clear(gv);
    for (int i = 0; i < all; i++) {
        WAIT(0);
        __syncthreads();
        if (i + 1 < all) load(i + 1);
        COMMIT;
        const u32 tile_q = tiles_qg + (i & 1) * 2 * TILE_BYTES, tile_g = tile_q + TILE_BYTES;
        const float* sums = numbers + (i & 1) * 2 * ROWS;
        const int m0 = (first_tile + i % count) * ROWS;
        // Rows are keys, columns are queries.
        float p[ROWS / 8][4];
        clear(p);
        TIMES_TILE_TRANSPOSED(p, tile_k, tile_q);
#pragma unroll
        for (int j = 0; j < ROWS / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int column = j * 8 + (lane & 3) * 2 + (e & 1);
                int row = n0 + warp * 16 + (lane >> 2) + (e >> 1) * 8;
                float x = power_of_two(p[j][e] * LOG2E - sums[column]);
                p[j][e] = row > m0 + column ? 0.0f : x;
            }
        VALUES_TIMES_TILE(gv, p, tile_g);
        float s[ROWS / 8][4];
        clear(s);
        TIMES_TILE_TRANSPOSED(s, tile_v, tile_g);
#pragma unroll
        for (int j = 0; j < ROWS / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int column = j * 8 + (lane & 3) * 2 + (e & 1);
                s[j][e] = p[j][e] * (s[j][e] - sums[ROWS + column]);
            }
        VALUES_TIMES_TILE(gk, s, tile_q);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int r = n0 + warp * 16 + (lane >> 2) + h * 8;
        if (r >= seq) continue;
        const u64 at = keys + (u64)r * DIM + (lane & 3) * 2;
#pragma unroll
        for (int j = 0; j < DIM / 8; j++) {
            *(float2*)(dk + at + j * 8) = make_float2(gk[j][2 * h], gk[j][2 * h + 1]);
            *(float2*)(dv + at + j * 8) = make_float2(gv[j][2 * h], gv[j][2 * h + 1]);
        }
    }
}

#else

extern "C" __global__ void __launch_bounds__(128) attention_queries(
    const u16* __restrict__ q, const u16* __restrict__ k, const u16* __restrict__ v,
    const u16* __restrict__ grad, const float* __restrict__ log_sums,
    const float* __restrict__ deltas, float* __restrict__ dq,
    const __grid_constant__ Sizes sizes) {
    SHARED_ADDRESS;
    const int seq = sizes.seq, heads = sizes.heads, group = sizes.group;
    const int m0 = (gridDim.x - 1 - blockIdx.x) * ROWS;
    const int head = blockIdx.y % heads, sequence = blockIdx.y / heads;
    const u64 keys = (u64)(sequence * (heads / group) + head / group) * seq * DIM;
    const u64 queries = (u64)blockIdx.y * seq;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const u32 tile_q = shared, tile_g = shared + TILE_BYTES;
    const int tiles = m0 / ROWS + 1;
    const int row = m0 + warp * 16 + (lane >> 2);

    auto load = [&](int t) {
        const u32 to = shared + (2 + 2 * (t & 1)) * TILE_BYTES;
        load_tile(to, k + keys, t * ROWS, seq);
        load_tile(to + TILE_BYTES, v + keys, t * ROWS, seq);
    };
    load_tile(tile_q, q + queries * DIM, m0, seq);
    load_tile(tile_g, grad + queries * DIM, m0, seq);
    load(0);
    COMMIT;
    float sums[2], delta[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        bool inside = row + h * 8 < seq;
        sums[h] = inside ? log_sums[queries + row + h * 8] : 1e30f;
        delta[h] = inside ? deltas[queries + row + h * 8] : 0.0f;
    }

    float g[DIM / 8][4];
    clear(g);
    for (int t = 0; t < tiles; t++) {
        WAIT(0);
        __syncthreads();
        if (t + 1 < tiles) load(t + 1);
        COMMIT;
        const u32 tile_k = shared + (2 + 2 * (t & 1)) * TILE_BYTES, tile_v = tile_k + TILE_BYTES;
        float p[ROWS / 8][4], s[ROWS / 8][4];
        clear(p);
        clear(s);
        TIMES_TILE_TRANSPOSED(p, tile_q, tile_k);
        TIMES_TILE_TRANSPOSED(s, tile_g, tile_v);
#pragma unroll
        for (int j = 0; j < ROWS / 8; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int column = t * ROWS + j * 8 + (lane & 3) * 2 + (e & 1);
                float x = power_of_two(p[j][e] * LOG2E - sums[e >> 1]);
                if (column > row + (e >> 1) * 8) x = 0.0f;
                s[j][e] = x * (s[j][e] - delta[e >> 1]);
            }
        VALUES_TIMES_TILE(g, s, tile_k);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int r = row + h * 8;
        if (r >= seq) continue;
        float* to = dq + (queries + r) * DIM + (lane & 3) * 2;
#pragma unroll
        for (int j = 0; j < DIM / 8; j++)
            *(float2*)(to + j * 8) = make_float2(g[j][2 * h], g[j][2 * h + 1]);
    }
}

#endif
