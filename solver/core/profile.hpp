// When the blocks of a mapped layer start and its outputs finish: solver.timing.profile.
#pragma once

#include <memory>
#include <optional>

#include "tiles.hpp"

namespace core {

// A loop with the cycles of one iteration, 0 in space and inside a drain, and its place among the block loops,
// -1 inside the blocks and in space.
struct Digit {
    Int bound, weight;
    int place;
};

inline Int next_number() {
    static Int last = 0;
    return ++last;
}

// Blocks in an order of their own, and the array that Python has of it.
struct BlockOrder {
    py::object given;
    Ints blocks;
};

// A mapped layer; of one whose blocks have an order of their own, `last_finish` is that in this order.
struct Profile {
    Int number = next_number(), unordered = number;  // of this, and of the one in the order of the loops
    std::shared_ptr<const BlockOrder> order;
    std::array<Int, DIMS> bounds;
    std::array<Vector<Digit>, DIMS> digits;  // outermost first
    Vector<int> dims;                        // of the block loops
    Ints shape, weights;                          // of the block loops; of all temporal loops
    Int channels, banks, rows, load, drain, open, t_in, t_out, t_open, t_weights, lead, total, finish_base, last_finish;
};

// The sum of digit * step over some loops for all combinations of their digits, the last loop innermost.
inline Ints digit_sums(const Ints &bounds, const Ints &steps) {
    Ints sums{0};
    for (std::size_t i = 0; i < bounds.size(); ++i) {
        Ints finer;
        finer.reserve(sums.size() * std::size_t(bounds[i]));
        for (Int before : sums)
            for (Int digit = 0; digit < bounds[i]; ++digit) finer.push_back(before + digit * steps[i]);
        sums = std::move(finer);
    }
    return sums;
}

// The sum of digit * step(loop) over the loops of a dim for each of its coordinates.
template <typename Step>
Ints coordinate_sums(const Profile &profile, std::size_t dim, const Step &step) {
    Ints sums(std::size_t(profile.bounds[dim]), 0);
    const auto &loops = profile.digits[dim];
    std::size_t known = 1;  // of the loops further in
    for (auto loop = loops.rbegin(); loop != loops.rend() && known < sums.size(); ++loop) {
        const Int own = step(*loop);
        const std::size_t all = std::min(known * std::size_t(loop->bound), sums.size());
        for (std::size_t i = known; i < all; ++i) sums[i] = sums[i - known] + own;
        known = all;
    }
    return sums;
}

// When the blocks start, in the order in which they are taken.
inline Ints block_starts(const Profile &profile) { return digit_sums(profile.shape, profile.weights); }

inline Int halvings(Int n) {
    Int count = 0;
    for (--n; n > 0; n >>= 1) ++count;
    return count;
}

inline Int load_cycles(const Layer &layer, const Tiles &tile, Int banks_per_channel) {
    Wide time = layer.load;
    for (const auto &own : tile.loaded)
        time += layer.load_width.cycles(times(own.channel, layer.activation), banks_per_channel);
    time += Wide(layer.activation) * layer.input_row_write * tile.lane_inputs();
    for (const auto &group : layer.sums) {
        Int largest = 0;
        for (int i : group) largest = std::max(largest, tile.loaded[std::size_t(i)].lane);
        time += Wide(group.size() - 1) * largest * layer.add;
    }
    return checked(time);
}

inline Int drain_cycles(
    const Layer &layer, const Loops &loops, const Tiles &tile, Int banks_per_channel, bool reloads) {
    std::array<Int, 4> reduced{1, 1, 1, 1};
    Int outputs = 1;
    for (const auto &loop : loops) {
        if (loop.dim >= OUTPUTS)
            reduced[loop.kind] = times(reduced[loop.kind], loop.bound);
        else if (loop.kind == COLUMN)
            outputs = times(outputs, loop.bound);
    }
    Wide time = Wide(layer.post) * layer.post_cycles + layer.drain;
    for (Int own : tile.residuals)
        time += Wide(layer.load_width.cycles(times(own, layer.activation), banks_per_channel)) +
                layer.activation * layer.input_row_write + layer.add;
    if (layer.host) {
        const Int partial = times(times(outputs, reduced[COLUMN]), layer.accumulator);
        return checked(time + layer.drain_width.cycles(partial));
    }
    const Int partial = times(outputs, layer.accumulator);
    time += Wide(halvings(reduced[COLUMN])) * (layer.move + layer.add);
    time += Wide(halvings(reduced[BANK])) * (layer.bank_width.cycles(partial) + layer.add);
    time += Wide(halvings(reduced[CHANNEL])) * (layer.channel_width.cycles(partial) + layer.add);
    time += layer.drain_width.cycles(times(outputs, layer.activation));
    if (reloads) time += layer.drain_width.cycles(partial);
    return checked(time);
}

inline Int weight_cycles(const Layer &layer, const Loops &loops, const Tiles &tile, Int banks_per_channel) {
    if (!layer.reloaded || !layer.has_weights) return 0;
    Int count = 1;
    for (int dim = 0; dim < DIMS; ++dim) {
        if (!is_weight(dim)) continue;
        Levels own;
        for (const auto &loop : loops)
            if (loop.dim == dim) own.push_back({loop.bound, loop.kind == CHANNEL ? 3 : 0});
        count = times(count, Int(coordinates(layer.bounds[std::size_t(dim)], own, 0).size()));
    }
    const Int bus = layer.load_width.cycles(times(count, layer.weight), banks_per_channel);
    return checked(bus + Wide(layer.weight) * tile.lane_weights * layer.row_write);
}

// The largest sum of digit * weight over the coordinates below the bound.
inline Int largest_sum(Int bound, const Vector<Digit> &loops) {
    Int rest = bound - 1, stride = 1, total = 1;
    for (const auto &loop : loops) total = times(total, loop.bound);
    stride = total;
    // Up to some loop the digits are those of the last coordinate, there the digit is one less, then all are free.
    Int same = 0, best = 0, free = 0;
    for (const auto &loop : loops) free += (loop.bound - 1) * loop.weight;
    if (bound >= total) return free;
    for (const auto &loop : loops) {
        stride /= loop.bound;
        const Int digit = rest / stride;
        rest %= stride;
        free -= (loop.bound - 1) * loop.weight;
        if (digit > 0) best = std::max(best, same + (digit - 1) * loop.weight + free);
        same += digit * loop.weight;
    }
    return std::max(best, same);
}

inline std::shared_ptr<Profile> profile(const Layer &layer, const Loops &loops, std::optional<Int> given) {
    auto result = shared<Profile>();
    Profile &p = *result;
    Loops temporal;
    Int channels = 1, banks_per_channel = 1;
    for (const auto &loop : loops) {
        if (loop.kind == TEMPORAL) temporal.push_back(loop);
        if (loop.kind == CHANNEL) channels = times(channels, loop.bound);
        if (loop.kind == BANK) banks_per_channel = times(banks_per_channel, loop.bound);
    }
    const Int count = Int(temporal.size());
    const Int load = given.value_or(innermost_read(layer, loops));
    Int drain = 0;
    bool reloads = false;
    for (Int depth = 1; depth <= count; ++depth)
        if (temporal[std::size_t(depth - 1)].dim < OUTPUTS) drain = depth;
    for (Int depth = 0; depth < drain; ++depth) reloads |= temporal[std::size_t(depth)].dim >= OUTPUTS;
    Int opening = -1;
    if (layer.steps_per_row >= 0 && layer.has_weights) {
        opening = count;
        Wide steps = 1;
        while (opening) {
            const Loop &loop = temporal[std::size_t(opening - 1)];
            steps *= is_weight(loop.dim) ? loop.bound : 1;
            if (steps > layer.steps_per_row) break;
            --opening;
        }
    }
    const Tiles tile = tiles(layer, loops, load);
    p.bounds = layer.bounds;
    p.channels = channels;
    p.banks = times(channels, banks_per_channel);
    p.rows = tile.rows(layer);
    p.load = load;
    p.drain = drain;
    p.open = opening;
    p.t_in = load_cycles(layer, tile, banks_per_channel);
    p.t_out = drain_cycles(layer, loops, tile, banks_per_channel, reloads);
    p.t_open = opening < 0 ? 0 : layer.open;
    Wide time = layer.mac;
    p.weights.assign(std::size_t(count), 0);
    for (Int depth = count; depth >= 0; --depth) {
        time += (depth == load ? p.t_in : 0) + (depth == drain ? p.t_out : 0);
        time += depth == opening ? layer.open : 0;
        if (depth) {
            p.weights[std::size_t(depth - 1)] = checked(time);
            time *= temporal[std::size_t(depth - 1)].bound;
            checked(time);
        }
    }
    p.t_weights = weight_cycles(layer, loops, tile, banks_per_channel);
    p.total = checked(time + p.t_weights);
    Int blocks = 1;
    while (Int(p.shape.size()) < load) {
        const Loop &loop = temporal[p.shape.size()];
        if (Wide(blocks) * loop.bound > layer.sync_blocks) break;
        blocks *= loop.bound;
        p.dims.push_back(loop.dim);
        p.shape.push_back(loop.bound);
    }
    const Int depth = Int(p.shape.size());
    p.lead = p.t_weights + (opening >= 0 && opening < depth ? layer.open : 0);
    p.finish_base = drain == 0 ? p.total : p.t_weights + p.weights[std::size_t(drain - 1)];
    if (drain && load < drain) p.finish_base += p.t_in;
    if (drain && opening >= 0 && opening < drain) p.finish_base += layer.open;
    p.finish_base -= p.lead;
    Int here = 0;
    for (const auto &loop : loops) {
        Digit digit{loop.bound, 0, -1};
        if (loop.kind == TEMPORAL) {
            digit.weight = here < drain ? p.weights[std::size_t(here)] : 0;
            digit.place = here < depth ? int(here) : -1;
            ++here;
            if (loop.dim >= OUTPUTS) p.finish_base += (loop.bound - 1) * digit.weight;
        }
        p.digits[loop.dim].push_back(digit);
    }
    p.last_finish = p.finish_base;
    for (std::size_t dim = 0; dim < OUTPUTS; ++dim) p.last_finish += largest_sum(layer.bounds[dim], p.digits[dim]);
    return result;
}

}  // namespace core
