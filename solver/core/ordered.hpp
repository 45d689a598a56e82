// What layers read of each other where blocks have an order of their own: solver.timing.ordered.
//
// Nothing is left open between blocks then, so the finish of an output is the start of its block and what its place in
// the block adds to that. An axis has classes of coordinates that the same blocks finish; the starts of the blocks,
// one for each combination of classes, are brought to the blocks of a consumer one group of axes after the other.
#pragma once

#include "records.hpp"

namespace core {

// For each coordinate of an output axis its class, and the cycles from the start of a block to its finish.
struct AxisClasses {
    Int count = 1;
    Vector<std::pair<Int, Int>> of{{0, 0}};
};

inline AxisClasses axis_classes(const Profile &producer, int axis) {
    AxisClasses classes;
    for (std::size_t dim : dims_of(axis)) {
        Int count = 1;
        Vector<std::pair<Int, Int>> own{{0, 0}};
        for (const auto &loop : producer.digits[dim]) {
            const bool block = loop.place >= 0;
            Vector<std::pair<Int, Int>> finer;
            finer.reserve(own.size() * std::size_t(loop.bound));
            for (const auto &[at, cycles] : own)
                for (Int digit = 0; digit < loop.bound; ++digit)
                    finer.push_back(block ? std::pair{at * loop.bound + digit, cycles}
                                          : std::pair{at, cycles + digit * loop.weight});
            if (block) count *= loop.bound;
            own = std::move(finer);
        }
        own.resize(std::size_t(producer.bounds[dim]), {0, 0});
        Vector<std::pair<Int, Int>> both;
        both.reserve(classes.of.size() * own.size());
        for (const auto &[before, cycles] : classes.of)
            for (const auto &[after, more] : own) both.push_back({before * count + after, cycles + more});
        classes.of = std::move(both);
        classes.count *= count;
    }
    return classes;
}

// The place of each block, in the loops' order, among the combinations of classes of the axes, the first axis outermost.
inline Ints class_places(const Profile &producer, const Vector<int> &axes) {
    Ints strides(producer.shape.size(), 0);
    Int stride = 1;
    for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
        const auto &dims = dims_of(*axis);
        for (auto dim = dims.rbegin(); dim != dims.rend(); ++dim)
            for (auto loop = producer.digits[*dim].rbegin(); loop != producer.digits[*dim].rend(); ++loop) {
                if (loop->place < 0) continue;
                strides[std::size_t(loop->place)] = stride;
                stride *= loop->bound;
            }
    }
    return digit_sums(producer.shape, strides);
}

using ClassFinish = Vector<std::pair<Int, Int>>;  // class, the largest of the cycles to the finish

// What each combination of digits of some block loops reads of the classes of a group.
struct Gather {
    std::size_t classes = 1;
    Vector<std::size_t> firsts;
    ClassFinish entries;
};

// Keeps the largest cycles of each class.
class Largest {
   public:
    explicit Largest(Int classes) : known_(std::size_t(classes), -INFINITE) {}

    void add(Int at, Int cycles) {
        Int &known = known_[std::size_t(at)];
        if (known == -INFINITE) touched_.push_back(at);
        known = std::max(known, cycles);
    }

    // Appends what was added, and forgets it.
    void take(ClassFinish &into) {
        for (Int at : touched_) {
            into.push_back({at, known_[std::size_t(at)]});
            known_[std::size_t(at)] = -INFINITE;
        }
        touched_.clear();
    }

   private:
    Ints known_, touched_;
};

// The classes that each value of a form reads on one axis, found when they are asked for.
class AxisReads {
   public:
    AxisReads(const Group &group, std::size_t axis, const Profile &producer)
        : interval_(group.intervals[axis]),
          classes_(axis_classes(producer, group.axes[axis])),
          largest_(classes_.count) {
        const Int own = Int(classes_.of.size());
        count_ = interval_ ? Int(interval_->low.size()) : std::min(group.extents[axis], own);
    }

    Int count() const { return count_; }
    Int classes() const { return classes_.count; }

    const ClassFinish &of(Int value) {
        const Int low = interval_ ? interval_->low.data()[value] : value;
        const Int high = interval_ ? interval_->high.data()[value] : value;
        auto [place, unknown] = known_.try_emplace({low, high});
        if (unknown) {
            for (Int i = low; i <= high; ++i) {
                const auto &[at, cycles] = classes_.of[std::size_t(i)];
                largest_.add(at, cycles);
            }
            largest_.take(place->second);
        }
        return place->second;
    }

   private:
    struct Hash {
        std::size_t operator()(const std::pair<Int, Int> &key) const {
            return std::size_t(key.first * 1000003 + key.second);
        }
    };
    const std::optional<Interval> &interval_;
    AxisClasses classes_;
    Largest largest_;
    Int count_;
    std::unordered_map<std::pair<Int, Int>, ClassFinish, Hash> known_;
};

inline Gather gather(const Group &group, const Profile &producer, const Asked &asked) {
    Vector<AxisReads> reads;
    reads.reserve(group.axes.size());
    Int count = 1, classes = 1;
    for (std::size_t i = 0; i < group.axes.size(); ++i) {
        reads.emplace_back(group, i, producer);
        count *= reads.back().count();
        classes *= reads.back().classes();
    }
    Vector<std::pair<Int, Int>> points;  // entry, value of the form
    each_point(group, asked, [&](Int entry, Int value) { points.push_back({entry, value}); }, 0, 0, group.offset);
    std::sort(points.begin(), points.end());
    Largest largest(classes);
    Gather result;
    result.classes = std::size_t(classes);
    auto point = points.begin();
    ClassFinish both, more;
    for (Int entry = 0; entry < asked.entries; ++entry) {
        result.firsts.push_back(result.entries.size());
        for (; point != points.end() && point->first == entry; ++point) {
            if (point->second < 0 || point->second >= count) continue;
            Int rest = point->second, below = count;
            both.assign(1, {0, 0});
            for (auto &own : reads) {
                below /= own.count();
                more.clear();
                for (const auto &[before, cycles] : both)
                    for (const auto &[after, extra] : own.of(rest / below))
                        more.push_back({before * own.classes() + after, cycles + extra});
                both.swap(more);
                rest %= below;
            }
            for (const auto &[at, cycles] : both) largest.add(at, cycles);
        }
        largest.take(result.entries);
    }
    result.firsts.push_back(result.entries.size());
    return result;
}

// The entry of each block of a consumer in a table with one axis for each of some block loops.
inline Ints entries_of(const Profile &consumer, const Vector<std::pair<int, Int>> &strides) {
    Ints own(consumer.shape.size(), 0);
    for (const auto &[place, stride] : strides) own[std::size_t(place)] = stride;
    return digit_sums(consumer.shape, own);
}

// Which blocks read nothing whatever the operand is: `Profile.unread_blocks`.
inline Vector<bool> unread_blocks(const Profile &consumer, bool residual) {
    Vector<bool> unread(entries_of(consumer, {}).size(), false);
    for (std::size_t dim = 0; dim < std::size_t(residual ? OUTPUTS : DIMS); ++dim) {
        Vector<std::pair<int, Int>> strides;
        Int stride = 1;
        for (auto loop = consumer.digits[dim].rbegin(); loop != consumer.digits[dim].rend(); ++loop) {
            if (loop->place >= 0) strides.push_back({loop->place, stride});
            stride *= loop->bound;
        }
        if (strides.size() < 2) continue;
        const auto first = entries_of(consumer, strides);
        for (std::size_t i = 0; i < first.size(); ++i)
            if (first[i] >= consumer.bounds[dim]) unread[i] = true;
    }
    for (std::size_t place = 0; residual && place < consumer.shape.size(); ++place) {
        if (consumer.dims[place] < OUTPUTS) continue;
        const auto digits = entries_of(consumer, {{int(place), 1}});
        for (std::size_t i = 0; i < digits.size(); ++i)
            if (digits[i] < consumer.shape[place] - 1) unread[i] = true;
    }
    return unread;
}

// How the needs of the blocks of a consumer follow from the starts of the blocks of a producer, in whatever order.
struct Gathers {
    Ints places, entries;
    Vector<Gather> groups;
    Vector<bool> unread;

    std::size_t size() const {
        std::size_t bytes = (places.size() + entries.size()) * sizeof(Int);
        for (const auto &own : groups)
            bytes += own.firsts.size() * sizeof(std::size_t) + own.entries.size() * sizeof(ClassFinish::value_type);
        return bytes;
    }
};

inline Gathers gathers(const Profile &producer, const Profile &consumer, const Edge &edge) {
    Gathers result;
    Vector<int> axes;
    Vector<std::pair<int, Int>> strides;
    for (const auto &group : edge.groups) {
        axes.insert(axes.end(), group.axes.begin(), group.axes.end());
        const Asked asked = asked_of(group, consumer);
        result.groups.push_back(gather(group, producer, asked));
        for (auto &[_, stride] : strides) stride *= asked.entries;
        for (std::size_t i = 0; i < asked.places.size(); ++i) strides.push_back({asked.places[i], asked.strides[i]});
    }
    result.places = class_places(producer, axes);
    result.entries = entries_of(consumer, strides);
    result.unread = unread_blocks(consumer, edge.residual);
    return result;
}

// When each block of a producer with an order of its own starts, the blocks in the order of the loops.
inline Ints starts_by_block(const Profile &producer) {
    const Ints starts = block_starts(producer);
    Ints by_block(starts.size());
    for (std::size_t i = 0; i < starts.size(); ++i) by_block[std::size_t(producer.order->blocks[i])] = starts[i];
    return by_block;
}

// The largest ideal finish of what each block of a consumer reads of a producer with an order of its own, minus
// infinity where it reads nothing; the blocks in the order of the loops.
inline Ints gathered(const Profile &producer, const Gathers &gathers) {
    const Ints starts = starts_by_block(producer);
    Ints need(starts.size());
    for (std::size_t i = 0; i < starts.size(); ++i) need[std::size_t(gathers.places[i])] = starts[i];
    for (const auto &group : gathers.groups) {
        // The classes of this group come first, the block loops of those that are done last.
        const std::size_t rest = need.size() / group.classes, count = group.firsts.size() - 1;
        Ints own(rest), next(rest * count);
        for (std::size_t entry = 0; entry < count; ++entry) {
            std::fill(own.begin(), own.end(), -INFINITE);
            for (std::size_t i = group.firsts[entry]; i < group.firsts[entry + 1]; ++i) {
                const Int *from = need.data() + std::size_t(group.entries[i].first) * rest;
                const Int cycles = group.entries[i].second;
                for (std::size_t k = 0; k < rest; ++k) own[k] = std::max(own[k], from[k] + cycles);
            }
            for (std::size_t k = 0; k < rest; ++k) next[k * count + entry] = own[k];
        }
        need = std::move(next);
    }
    Ints result(gathers.entries.size());
    for (std::size_t i = 0; i < result.size(); ++i) {
        const Int own = need[std::size_t(gathers.entries[i])];
        result[i] = own < 0 || gathers.unread[i] ? -INFINITE : own + producer.finish_base;
    }
    return result;
}

// As `gathered`, of a producer in the order of its loops.
inline Ints summed(const Profile &producer, const Profile &consumer, const Edge &edge) {
    const auto unread = unread_blocks(consumer, edge.residual);
    Ints result(unread.size(), producer.finish_base);
    for (const auto &group : edge.groups) {
        const Need need = group_need(group, producer, consumer);
        Vector<std::pair<int, Int>> strides;
        Int stride = 1;
        for (std::size_t i = need.places.size(); i-- > 0; stride *= need.shape[i])
            strides.push_back({need.places[i], stride});
        const auto entries = entries_of(consumer, strides);
        for (std::size_t i = 0; i < result.size(); ++i) result[i] += need.levels.back()[std::size_t(entries[i])];
    }
    for (std::size_t i = 0; i < result.size(); ++i)
        if (result[i] < 0 || unread[i]) result[i] = -INFINITE;
    return result;
}

// What was found for two profiles and an edge, known by their numbers, kept until all of it takes too much room.
template <typename Value>
class Known {
   public:
    explicit Known(std::size_t limit) : limit_(limit) {}

    template <typename Find, typename Size>
    std::shared_ptr<const Value> of(Int producer, Int consumer, Int edge, Find find, Size size) {
        const std::array<Int, 3> key{producer, consumer, edge};
        const auto place = known_.find(key);
        if (place != known_.end()) return place->second;
        auto found = shared<const Value>(find());
        size_ += OVERHEAD + size(*found);
        if (size_ > limit_) clear();
        known_.emplace(key, found);
        return found;
    }

    void clear() {
        known_.clear();
        size_ = 0;
    }

   private:
    static constexpr std::size_t OVERHEAD = 200;
    struct Hash {
        std::size_t operator()(const std::array<Int, 3> &key) const {
            return std::size_t((key[0] * 1000003 + key[1]) * 1000003 + key[2]);
        }
    };
    struct Equal {
        bool operator()(const std::array<Int, 3> &one, const std::array<Int, 3> &other) const {
            return one[0] == other[0] && one[1] == other[1] && one[2] == other[2];
        }
    };
    using Entry = std::pair<const std::array<Int, 3>, std::shared_ptr<const Value>>;
    std::unordered_map<std::array<Int, 3>, std::shared_ptr<const Value>, Hash, Equal, Recycled<Entry>> known_;
    std::size_t limit_, size_ = 0;
};

inline Known<Records> &known_records() {
    static Known<Records> known(std::size_t(48) << 20);
    return known;
}

inline Known<Gathers> &known_gathers() {
    static Known<Gathers> known(std::size_t(32) << 20);
    return known;
}

inline Known<Ints> &known_sums() {
    static Known<Ints> known(std::size_t(16) << 20);
    return known;
}

// As `gathered`, of any producer.
inline Ints needs(const Profile &producer, const Profile &consumer, const Edge &edge) {
    if (!producer.order)
        return *known_sums().of(
            producer.number, consumer.unordered, edge.number, [&] { return summed(producer, consumer, edge); },
            [](const Ints &found) { return found.size() * sizeof(Int); });
    const auto found = known_gathers().of(
        producer.unordered, consumer.unordered, edge.number, [&] { return gathers(producer, consumer, edge); },
        [](const Gathers &own) { return own.size(); });
    return gathered(producer, *found);
}

// (ideal start, ideal finish needed) of the blocks that need more than all blocks before them.
inline Records records(const Profile &producer, const Profile &consumer, const Edge &edge) {
    if (!producer.order && !consumer.order) {
        Vector<Need> own;
        for (const auto &group : edge.groups) own.push_back(group_need(group, producer, consumer));
        return Walk(consumer, own, producer.finish_base, edge.residual).run();
    }
    const Ints need = needs(producer, consumer, edge), starts = block_starts(consumer);
    Records result;
    Int highest = -1;
    for (std::size_t i = 0; i < need.size(); ++i) {
        const Int own = need[consumer.order ? std::size_t(consumer.order->blocks[i]) : i];
        if (own <= highest) continue;
        result.starts.push_back(starts[i]);
        result.need.push_back(highest = own);
    }
    return result;
}

inline std::shared_ptr<const Records> records_of(const Profile &producer, const Profile &consumer, const Edge &edge) {
    return known_records().of(
        producer.number, consumer.number, edge.number, [&] { return records(producer, consumer, edge); },
        [](const Records &found) { return 2 * sizeof(Int) * found.starts.size(); });
}

// The last ideal finish of a layer whose blocks have an order of their own.
inline Int last_finish(const Profile &profile) {
    const Ints starts = starts_by_block(profile);
    const auto places = class_places(profile, {0, 1, 2, 3});
    ClassFinish all{{0, 0}}, own, more;
    for (int axis = 0; axis < 4; ++axis) {
        const AxisClasses classes = axis_classes(profile, axis);
        Largest largest(classes.count);
        for (const auto &[at, cycles] : classes.of) largest.add(at, cycles);
        own.clear();
        largest.take(own);
        more.clear();
        for (const auto &[before, cycles] : all)
            for (const auto &[after, extra] : own) more.push_back({before * classes.count + after, cycles + extra});
        all.swap(more);
    }
    Ints by_class(starts.size());
    for (std::size_t i = 0; i < starts.size(); ++i) by_class[std::size_t(places[i])] = starts[i];
    Int latest = 0;
    for (const auto &[at, cycles] : all) latest = std::max(latest, by_class[std::size_t(at)] + cycles);
    return profile.finish_base + latest;
}

// The profile with its blocks in another order.
inline std::shared_ptr<Profile> ordered(const Profile &profile, const Array &given) {
    auto result = shared<Profile>(profile);
    result->number = next_number();
    const Int *blocks = given.data();
    result->order = shared<const BlockOrder>(BlockOrder{given, Ints(blocks, blocks + given.size())});
    result->last_finish = last_finish(*result);
    return result;
}

}  // namespace core
