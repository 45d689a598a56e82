// Many mappings of a layer at once, to rank them before they are profiled: solver.mapspace.pools and
// solver.mapspace.estimate. What divides by a bandwidth does so in doubles, as the twin does.
#pragma once

#include <cmath>
#include <limits>
#include <utility>

#include "profile.hpp"

namespace core {

using Bounds = std::array<Int, DIMS>;
using Order = Vector<int>;  // dims, outermost first

// The bounds of all dims for each of some mappings: as an array of NumPy, shape (DIMS, count).
struct Table {
    Vector<Ints> rows = Vector<Ints>(DIMS);

    std::size_t count() const { return rows[0].size(); }

    Bounds at(std::size_t i) const {
        Bounds bounds;
        for (std::size_t dim = 0; dim < DIMS; ++dim) bounds[dim] = rows[dim][i];
        return bounds;
    }

    void add(const Bounds &bounds) {
        for (std::size_t dim = 0; dim < DIMS; ++dim) rows[dim].push_back(bounds[dim]);
    }
};

inline Int product(const Bounds &bounds, std::size_t first, std::size_t last) {
    Int result = 1;
    for (std::size_t dim = first; dim < last; ++dim) result *= bounds[dim];
    return result;
}

inline Int in_doubles(Int a, double b) { return Int(std::ceil(double(a) / b)); }

inline double width(const Fraction &bandwidth) {
    return double(bandwidth.numerator) / double(bandwidth.denominator);
}

// Ways to choose a width of each dim that fill so many columns at most, and leave it possible to reach the target.
inline Vector<Ints> filled(
    const Vector<Ints> &options, Int columns, const Vector<double> &reachable, double target) {
    Vector<Ints> ways;
    Ints products{1};
    for (std::size_t i = 0; i < options.size(); ++i) {
        Vector<Ints> longer(i + 1);
        Ints more;
        for (std::size_t way = 0; way < products.size(); ++way)
            for (Int option : options[i]) {
                const Int product = products[way] * option;
                if (product > columns) break;  // options rise
                if (double(product) * reachable[i + 1] < target) continue;
                for (std::size_t j = 0; j < i; ++j) longer[j].push_back(ways[j][way]);
                longer[i].push_back(option);
                more.push_back(product);
            }
        ways = std::move(longer);
        products = std::move(more);
    }
    return ways;
}

// What many mappings of a layer take, by the widths of their dims alone.
class Estimate {
   public:
    explicit Estimate(const Layer &layer) : layer_(layer) {
        Wide inputs = Wide(layer.residuals.size());
        if (layer.buffer_bits < 0) inputs += 2 * Wide(layer.loaded.size());
        least_rows_ = checked(layer.activation * inputs + layer.accumulator);
    }

    Int rows(const Bounds &temporal) const {
        Int weights = 1;
        for (int dim = 0; dim < DIMS; ++dim)
            if (is_weight(dim)) weights = times(weights, temporal[std::size_t(dim)]);
        return checked(Wide(layer_.weight) * weights + least_rows_);
    }

    bool fits(const Bounds &column, const Bounds &temporal) const {
        if (rows(temporal) > layer_.rows) return false;
        if (layer_.buffer_bits < 0) return true;
        Wide tile = 0;
        for (const auto &operand : layer_.loaded) tile += elements(operand, column);
        return tile * layer_.activation <= layer_.buffer_bits;
    }

    // Elements of an operand that loops in space read together in one step.
    Int elements(const Operand &operand, const Bounds &spatial) const {
        Int count = 1;
        for (const auto &form : operand) {
            Int points = 1, reach = 1;
            for (const auto &term : form) {
                const Int own = spatial[std::size_t(term.dim)];
                points = times(points, own);
                reach = checked(Wide(reach) + Wide(own - 1) * term.coefficient);
            }
            count = times(count, std::min(points, reach));
        }
        return count;
    }

    Int load(const Bounds &bank, const Bounds &column) const {
        Wide time = layer_.load;
        for (const auto &group : layer_.sums) time += Wide(group.size() - 1) * layer_.add;
        time += Wide(layer_.loaded.size()) * layer_.activation * layer_.input_row_write;
        for (const auto &operand : layer_.loaded) time += bus(operand, bank, column);
        return checked(time);
    }

    // Cycles of a drain, and those of reading partial sums back.
    std::pair<Int, Int> drain(const Bounds &channel, const Bounds &bank, const Bounds &column) const {
        const Int lanes = product(column, OUTPUTS, DIMS);
        const Int partial = times(product(column, 0, OUTPUTS), layer_.accumulator);
        const double out = width(layer_.drain_width);
        Wide time = Wide(layer_.post) * layer_.post_cycles + layer_.drain;
        for (const auto &operand : layer_.residuals)
            time += Wide(bus(operand, bank, column)) + layer_.activation * layer_.input_row_write + layer_.add;
        if (layer_.host) return {checked(time + in_doubles(times(partial, lanes), out)), 0};
        time += Wide(halvings(lanes)) * (layer_.move + layer_.add);
        time += Wide(halvings(product(bank, OUTPUTS, DIMS))) *
                (in_doubles(partial, width(layer_.bank_width)) + layer_.add);
        time += Wide(halvings(product(channel, OUTPUTS, DIMS))) *
                (in_doubles(partial, width(layer_.channel_width)) + layer_.add);
        time += in_doubles(times(product(column, 0, OUTPUTS), layer_.activation), out);
        return {checked(time), in_doubles(partial, out)};
    }

   private:
    Int bus(const Operand &operand, const Bounds &bank, const Bounds &column) const {
        Bounds spatial;
        for (std::size_t dim = 0; dim < DIMS; ++dim) spatial[dim] = bank[dim] * column[dim];
        const Int bits = times(elements(operand, spatial), layer_.activation);
        return in_doubles(bits, double(product(bank, 0, DIMS)) * width(layer_.load_width));
    }

    const Layer &layer_;
    Int least_rows_;
};

// Mappings of a layer as the bounds of the loops of each dim and kind, and what each of them takes.
class Batch {
   public:
    Batch(std::shared_ptr<const Layer> layer, Table channel, Table bank, Table column, Table temporal)
        : layer_(std::move(layer)),
          channel_(std::move(channel)),
          bank_(std::move(bank)),
          column_(std::move(column)),
          temporal_(std::move(temporal)) {
        const Estimate estimate(*layer_);
        for (std::size_t i = 0; i < count(); ++i) {
            const Bounds bank = bank_.at(i), column = column_.at(i), temporal = temporal_.at(i);
            rows_.push_back(estimate.rows(temporal));
            load_.push_back(estimate.load(bank, column));
            const auto [drain, reload] = estimate.drain(channel_.at(i), bank, column);
            drain_.push_back(drain);
            reload_.push_back(reload);
            Int steps = 1;
            for (Int bound : temporal) steps = times(steps, bound);
            const Wide step = Wide(layer_->mac) + load_.back() + drain + reload + layer_->open;
            times(steps, checked(step));  // no order takes longer: totals fit if this does
        }
    }

    std::size_t count() const { return temporal_.count(); }

    // Cycles of the layer with the temporal loops in an order; they fit, as the constructor has seen.
    Ints total(const Order &order) const {
        Ints result(count());
        for (std::size_t i = 0; i < count(); ++i) {
            Int reached = 1, loads = 1, drains = 1;
            bool reducing = false, reloads = false;
            for (int dim : order) {
                const Int bound = temporal_.rows[std::size_t(dim)][i];
                if (bound == 1) continue;
                reached *= bound;
                if (layer_->read[std::size_t(dim)]) loads = reached;
                if (dim >= OUTPUTS) {
                    reducing = true;
                } else {
                    drains = reached;
                    reloads |= reducing;
                }
            }
            result[i] = reached * layer_->mac + loads * load_[i] + opens(order, i) * layer_->open +
                        drains * (drain_[i] + reloads * reload_[i]);
        }
        return result;
    }

    // The least of several orders for each mapping.
    Ints least(const Vector<Order> &orders) const {
        Ints result = total(orders[0]);
        for (std::size_t k = 1; k < orders.size(); ++k) {
            const Ints other = total(orders[k]);
            for (std::size_t i = 0; i < count(); ++i) result[i] = std::min(result[i], other[i]);
        }
        return result;
    }

    // The so many fastest mappings, and those that need fewer rows than any faster one, the fewest first.
    std::pair<Ints, Ints> fastest(const Vector<Order> &orders, std::size_t most) const {
        const Ints cycles = least(orders);
        Ints best(count()), frugal;
        for (std::size_t i = 0; i < count(); ++i) best[i] = Int(i);
        most = std::min(most, count());
        auto sooner = [&](Int a, Int b) {
            return std::pair(cycles[std::size_t(a)], a) < std::pair(cycles[std::size_t(b)], b);
        };
        std::partial_sort(best.begin(), best.begin() + std::ptrdiff_t(most), best.end(), sooner);
        best.resize(most);
        for (Int rows = std::numeric_limits<Int>::max();;) {
            std::size_t found = count();
            for (std::size_t i = 0; i < count(); ++i)
                if (rows_[i] < rows && (found == count() || cycles[i] < cycles[found])) found = i;
            if (found == count()) break;
            frugal.push_back(Int(found));
            rows = rows_[found];
        }
        std::reverse(frugal.begin(), frugal.end());
        return {best, frugal};
    }

    // The fastest mappings, each with the place of its order, of those that make more steps along rows or columns.
    Vector<std::pair<Int, Int>> streaming(
        const Vector<Order> &orders, double slowest, double finer) const {
        Vector<Ints> totals;
        for (const auto &order : orders) totals.push_back(total(order));
        const Ints cycles = least(orders), &rows = temporal_.rows[3], &columns = temporal_.rows[4];
        Vector<std::size_t> left;
        const double limit = slowest * double(*std::min_element(cycles.begin(), cycles.end()));
        for (std::size_t i = 0; i < count(); ++i)
            if (double(cycles[i]) <= limit) left.push_back(i);
        Vector<std::pair<Int, Int>> result;
        while (!left.empty()) {
            const std::size_t best = *std::min_element(
                left.begin(), left.end(), [&](std::size_t a, std::size_t b) { return cycles[a] < cycles[b]; });
            std::size_t order = 0;
            for (std::size_t k = 1; k < orders.size(); ++k)
                if (totals[k][best] < totals[order][best]) order = k;
            result.push_back({Int(best), Int(order)});
            const Int p = rows[best], q = columns[best];
            left.erase(
                std::remove_if(left.begin(), left.end(), [&](std::size_t i) {
                    return (finer * double(p) >= double(rows[i]) && finer * double(q) >= double(columns[i])) ||
                           (p == rows[i] && q == columns[i]);
                }), left.end());
        }
        return result;
    }

    // The loops of one of the mappings, the temporal ones outermost.
    Loops loops(std::size_t i, const Order &order) const {
        Loops result;
        for (int dim : order) result.push_back({std::uint8_t(dim), TEMPORAL, temporal_.rows[std::size_t(dim)][i]});
        for (const auto &[kind, table] : {std::pair(CHANNEL, &channel_), {BANK, &bank_}, {COLUMN, &column_}})
            for (std::uint8_t dim = 0; dim < DIMS; ++dim) result.push_back({dim, kind, table->rows[dim][i]});
        result.erase(
            std::remove_if(result.begin(), result.end(), [](const Loop &x) { return x.bound == 1; }), result.end());
        return result;
    }

   private:
    // How often rows of weights are opened that are as full as the steps inside allow.
    Int opens(const Order &order, std::size_t i) const {
        if (layer_->steps_per_row < 0 || !layer_->has_weights) return 0;
        Int room = layer_->steps_per_row, opens = 1;
        bool outside = false;
        for (auto dim = order.rbegin(); dim != order.rend(); ++dim) {
            const Int bound = temporal_.rows[std::size_t(*dim)][i];
            if (outside) {
                opens *= bound;
            } else if (is_weight(*dim)) {
                if (bound > room) {
                    opens = (bound + room - 1) / room;
                    outside = true;
                }
                room = std::max(room / bound, Int(1));
            }
        }
        return opens;
    }

    std::shared_ptr<const Layer> layer_;
    Table channel_, bank_, column_, temporal_;
    Ints rows_, load_, drain_, reload_;
};

// An array of banks, and ways to fill the columns of each: their bounds, shape (DIMS, count).
struct BankArray {
    Bounds channel, bank;
    const Int *columns;
    std::size_t count;
};

// The mappings with few steps and few enough rows on any of some arrays.
class Ways {
   public:
    Ways(const Layer &layer, double most_steps) : layer_(layer), estimate_(layer), most_steps_(most_steps) {
        for (std::size_t dim = 0; dim < DIMS; ++dim)
            if (layer.bounds[dim] > 1) active_.push_back(dim);
    }

    void add(const BankArray &array) {
        struct Way {
            Bounds temporal;
            Int steps;
        };
        Vector<Way> fitting;
        Bounds column, temporal;
        column.fill(1);
        temporal.fill(1);
        for (std::size_t dim : active_) temporal[dim] = steps(array, dim, 1);
        for (std::size_t i = 0; i < array.count; ++i) {
            Int all = 1;
            for (std::size_t dim : active_) {
                const Int own = array.columns[dim * array.count + i];
                // Most ways have the width of the one before.
                if (own != column[dim]) temporal[dim] = steps(array, dim, column[dim] = own);
                all = times(all, temporal[dim]);
            }
            if (double(all) > most_steps_ * double(fewest_) || !estimate_.fits(column, temporal)) continue;
            fitting.push_back({temporal, all});
            fewest_ = std::min(fewest_, all);
        }
        for (const auto &way : fitting)
            if (double(way.steps) <= most_steps_ * double(fewest_)) cover(array, way.temporal);
    }

    Batch batch(std::shared_ptr<const Layer> layer) && {
        return Batch(
            std::move(layer), std::move(channels_), std::move(banks_), std::move(columns_), std::move(temporals_));
    }

   private:
    Int steps(const BankArray &array, std::size_t dim, Int column) const {
        return ceil_div(layer_.bounds[dim], times(times(array.channel[dim], array.bank[dim]), column));
    }

    // Adds the mapping with the smallest bounds that still cover, so that it is valid.
    void cover(const BankArray &array, const Bounds &temporal) {
        Bounds channel, bank, column;
        for (Bounds *own : {&channel, &bank, &column}) own->fill(1);
        for (std::size_t dim : active_) {
            const Int bound = layer_.bounds[dim], outside = array.channel[dim];
            column[dim] = ceil_div(bound, times(temporal[dim], times(outside, array.bank[dim])));
            bank[dim] = ceil_div(bound, times(temporal[dim] * column[dim], outside));
            channel[dim] = ceil_div(bound, times(temporal[dim] * column[dim], bank[dim]));
        }
        channels_.add(channel);
        banks_.add(bank);
        columns_.add(column);
        temporals_.add(temporal);
    }

    const Layer &layer_;
    Estimate estimate_;
    double most_steps_;
    Vector<std::size_t> active_;
    Int fewest_ = INFINITE;
    Table channels_, banks_, columns_, temporals_;
};

}  // namespace core
