// When layers run, given what they read and when that is finished: solver.timing.timeline and solver.maxplus.through.
#pragma once

#include "ordered.hpp"

namespace core {

// What an operand asks for: from each of some ideal times on, real minus ideal time is at least so much.
struct Wait {
    int producer;
    std::shared_ptr<const Records> records;
    Ints delays;

    bool operator==(const Wait &other) const {
        return delays == other.delays && records->starts == other.records->starts;
    }
};

// When one layer runs: real minus ideal time from each of some ideal times on.
struct Times {
    py::object profile;
    std::shared_ptr<const Profile> own;
    Int release, start, end;
    Ints woven, delays;  // the steps of several operands; those of a single one are its own
    Vector<std::shared_ptr<const Wait>> waits;

    // The first operand that asks for as much as the layer waits in the end; none if it waits for its release.
    std::optional<int> binding_producer() const {
        if (delays.back() <= release + own->lead) return std::nullopt;
        for (const auto &wait : waits)
            if (!wait->delays.empty() && *std::max_element(wait->delays.begin(), wait->delays.end()) == delays.back())
                return wait->producer;
        return std::nullopt;
    }

    const Ints &steps() const { return woven.empty() ? waits[0]->records->starts : woven; }
};

using TimesPointer = std::shared_ptr<Times>;

// When every layer of a network runs; Python is given an object for each only where it asks for them.
class Timeline {
   public:
    explicit Timeline(Vector<TimesPointer> times) : times_(std::move(times)) {}

    const Vector<TimesPointer> &times() const { return times_; }

    Int latency() const {
        Int latest = 0;
        for (const auto &times : times_) latest = std::max(latest, times->end);
        return latest;
    }

    py::tuple layers() {
        if (!layers_) layers_ = py::tuple(py::cast(times_));
        return *layers_;
    }

    py::list profiles() const {
        py::list result(times_.size());
        for (std::size_t i = 0; i < times_.size(); ++i) result[i] = times_[i]->profile;
        return result;
    }

    Ints ends() const {
        Ints result;
        for (const auto &times : times_) result.push_back(times->end);
        return result;
    }

    // The layers that decide the latency, the last one first: each waited last for the next one.
    Vector<int> critical() const {
        std::size_t last = 0;
        for (std::size_t i = 1; i < times_.size(); ++i)
            if (times_[i]->end > times_[last]->end) last = i;
        Vector<int> path;
        for (std::optional<int> layer = int(last); layer; layer = times_[std::size_t(*layer)]->binding_producer())
            path.push_back(*layer);
        return path;
    }

    // Whether the blocks of a layer have an order of their own.
    bool ordered() const {
        return std::any_of(times_.begin(), times_.end(), [](const auto &times) { return bool(times->own->order); });
    }

   private:
    Vector<TimesPointer> times_;
    std::optional<py::tuple> layers_;
};

struct Source {
    int producer;
    std::shared_ptr<const Edge> edge;
};

// The reads between the layers of a network on a chip.
struct Network {
    Vector<Vector<Source>> sources;
    Vector<Vector<std::pair<int, std::shared_ptr<const Edge>>>> readers;
    Vector<int> line;  // the layers, each after its producers
    Int transfer;
};

// What an operand asks for, given when its producer runs; `visit` is told of each delay.
template <typename Visit>
std::shared_ptr<const Wait> asked(
    const Source &source, std::shared_ptr<const Records> records, const Times &producer, Int transfer,
    const Visit &visit) {
    auto found = shared<Wait>();
    const Ints &starts = records->starts, &need = records->need, &steps = producer.steps();
    found->delays.resize(need.size());
    std::size_t at = 0;
    for (std::size_t i = 0; i < need.size(); ++i) {
        while (at < steps.size() && steps[at] < need[i]) ++at;
        const Int delay = need[i] - starts[i] + producer.delays[at - 1] + transfer;
        found->delays[i] = delay;
        visit(delay);
    }
    found->producer = source.producer;
    found->records = std::move(records);
    return found;
}

// Whether the steps of a layer are those of the only operand that it has.
inline bool alone(std::size_t operands, const Records &records) {
    return operands == 1 && !records.starts.empty() && records.starts[0] == 0;
}

// Lets a layer wait for one of its operands. If it is alone, the delays of the layer are found on the way.
inline void wait_for(
    Times &times, std::size_t operands, const Source &source, const Times &producer, Int transfer) {
    auto records = records_of(*producer.own, *times.own, *source.edge);
    if (alone(operands, *records)) {
        times.delays.resize(records->need.size());
        Int largest = times.release + times.own->lead, *next = times.delays.data();
        const auto rise = [&](Int delay) { *next++ = largest = std::max(largest, delay); };
        times.waits.push_back(asked(source, std::move(records), producer, transfer, rise));
    } else {
        times.waits.push_back(asked(source, std::move(records), producer, transfer, [](Int) {}));
    }
}

// Puts what an operand asks for among what others do, by ideal time; at the same one the others come first.
inline void weave(Ints &steps, Ints &delays, const Ints &own_steps, const Ints &own_delays) {
    const std::size_t known = steps.size(), own = own_steps.size();
    std::size_t i = known, j = own;
    steps.resize(known + own);
    delays.resize(known + own);
    // From the end, so that nothing is overwritten that is still to be read.
    while (i && j) {
        if (steps[i - 1] > own_steps[j - 1]) {
            --i;
            steps[i + j] = steps[i];
            delays[i + j] = delays[i];
        } else {
            --j;
            steps[i + j] = own_steps[j];
            delays[i + j] = own_delays[j];
        }
    }
    std::copy_n(own_steps.begin(), j, steps.begin());
    std::copy_n(own_delays.begin(), j, delays.begin());
}

// Brings what the operands and the release ask for together: the largest so far, step by step.
inline void merge(Times &times) {
    const auto &waits = times.waits;
    if (waits.size() == 1 && alone(1, *waits[0]->records)) {
        times.delays = waits[0]->delays;
    } else {
        std::size_t count = 1;
        for (const auto &wait : waits) count += wait->delays.size();
        times.woven.reserve(count);
        times.delays.reserve(count);
        times.woven.assign(1, 0);
        times.delays.assign(1, 0);
        for (const auto &wait : waits) weave(times.woven, times.delays, wait->records->starts, wait->delays);
    }
    Int largest = times.release + times.own->lead;
    for (Int &delay : times.delays) delay = largest = std::max(largest, delay);
}

// When a layer starts and ends, its delays at hand.
inline void conclude(Times &times) {
    const Ints &steps = times.steps();
    const auto later = std::upper_bound(steps.begin(), steps.end(), Int(0));
    times.start = times.delays[std::size_t(later - steps.begin()) - 1] - times.own->lead;
    times.end = times.own->last_finish + times.delays.back();
}

// When a layer runs that waits for all of its operands.
inline void complete(Times &times) {
    if (times.delays.empty()) merge(times);  // else `wait_for` has found them
    conclude(times);
}

// Whether two times of a layer say the same, also of what one operand hides of another.
inline bool same(const Times &one, const Times &other) {
    if (one.own != other.own || one.profile.ptr() != other.profile.ptr() || one.release != other.release) return false;
    if (one.delays != other.delays || one.steps() != other.steps() || one.waits.size() != other.waits.size()) return false;
    for (std::size_t i = 0; i < one.waits.size(); ++i)
        if (one.waits[i] != other.waits[i] && !(*one.waits[i] == *other.waits[i])) return false;
    return true;
}

// Runs one layer. What has not changed since `old`, which was run after the sources `before`, is taken from there.
inline TimesPointer run(
    const Network &network,
    int layer,
    const py::object &profile,
    std::shared_ptr<const Profile> own,
    Int release,
    const Vector<const Times *> &sources,
    const TimesPointer &old,
    const Vector<const Times *> &before) {
    const bool compare = old && old->own == own && old->profile.ptr() == profile.ptr();
    auto times = shared<Times>();
    times->profile = profile;
    times->own = std::move(own);
    times->release = release;
    const auto &reads = network.sources[std::size_t(layer)];
    std::size_t known = 0;
    times->waits.reserve(reads.size());
    for (std::size_t i = 0; i < reads.size(); ++i) {
        if (compare && sources[i] == before[i]) {
            times->waits.push_back(old->waits[i]);
            ++known;
        } else {
            wait_for(*times, reads.size(), reads[i], *sources[i], network.transfer);
        }
    }
    if (compare && known == reads.size() && old->release == release) return old;
    complete(*times);
    if (compare && same(*old, *times)) return old;
    return times;
}

// By how much the layers that read one end later, at most, if it has another profile, and when it ends itself.
inline std::pair<Int, Int> impact(
    const Network &network, const Timeline &timeline, int layer, const py::object &profile,
    const std::shared_ptr<const Profile> &own) {
    const auto &times = timeline.times();
    const auto run_after = [&](int i, const py::object &of, const std::shared_ptr<const Profile> &compiled,
                               const Times *instead, const TimesPointer &old) {
        Vector<const Times *> sources, before;
        for (const auto &source : network.sources[std::size_t(i)]) {
            before.push_back(times[std::size_t(source.producer)].get());
            sources.push_back(instead && source.producer == layer ? instead : before.back());
        }
        return run(network, i, of, compiled, times[std::size_t(i)]->release, sources, old, before);
    };
    const TimesPointer changed = run_after(layer, profile, own, nullptr, nullptr);
    const auto &readers = network.readers[std::size_t(layer)];
    Int later = readers.empty() ? 0 : -INFINITE;
    for (const auto &[reader, _] : readers) {
        const TimesPointer &old = times[std::size_t(reader)];
        later = std::max(later, run_after(reader, old->profile, old->own, changed.get(), old)->end - old->end);
    }
    return {later, changed->end};
}

// What is left to do after each moment of each layer.
class Remaining {
   public:
    // (ideal time, cycles from a delay at it to the end of the network, at least), and the latter without any.
    struct Tail {
        Ints needed, left;
    };

    Remaining(
        std::shared_ptr<const Network> network, const Timeline &timeline, const Remaining *previous)
        : network_(std::move(network)), times_(timeline.times()), tails_(times_.size()) {
        Vector<bool> changed(times_.size(), true);
        for (auto i = network_->line.rbegin(); i != network_->line.rend(); ++i) {
            const auto layer = std::size_t(*i);
            bool same = previous && previous->times_[layer]->own == times_[layer]->own;
            for (const auto &[reader, _] : network_->readers[layer]) same = same && !changed[std::size_t(reader)];
            changed[layer] = !same;
            tails_[layer] = same ? previous->tails_[layer] : tail(layer);
        }
    }

    // How late what depends on a layer ends if it takes another mapping.
    Int through(int layer, const std::shared_ptr<const Profile> &own) const {
        Times times;
        times.own = own;
        times.release = times_[std::size_t(layer)]->release;
        const auto &reads = network_->sources[std::size_t(layer)];
        for (const auto &read : reads)
            wait_for(times, reads.size(), read, *times_[std::size_t(read.producer)], network_->transfer);
        complete(times);
        Int latest = times.end;
        for (const auto &[reader, edge] : network_->readers[std::size_t(layer)]) {
            const auto found = records_of(*own, *times_[std::size_t(reader)]->own, *edge);
            std::size_t at = 0;
            for (std::size_t i = 0; i < found->need.size(); ++i) {
                while (at < times.steps().size() && times.steps()[at] < found->need[i]) ++at;
                latest = std::max(latest, times.delays[at - 1] + after(reader, *found, i));
            }
        }
        return latest;
    }

   private:
    // Cycles from the finish of what a record needs to the end of the network, at least.
    Int after(int reader, const Records &found, std::size_t i) const {
        const Tail &tail = *tails_[std::size_t(reader)];
        const auto place = std::upper_bound(tail.needed.begin(), tail.needed.end(), found.starts[i]);
        const Int left = tail.left[std::size_t(place - tail.needed.begin())];
        return found.need[i] - found.starts[i] + network_->transfer + left;
    }

    std::shared_ptr<const Tail> tail(std::size_t layer) const {
        Vector<std::pair<Int, Int>> pairs;
        for (const auto &[reader, edge] : network_->readers[layer]) {
            const auto found = records_of(*times_[layer]->own, *times_[std::size_t(reader)]->own, *edge);
            for (std::size_t i = 0; i < found->need.size(); ++i)
                pairs.push_back({found->need[i], after(reader, *found, i)});
        }
        std::sort(pairs.begin(), pairs.end());
        auto result = shared<Tail>();
        result->left.resize(pairs.size() + 1);
        Int largest = result->left[pairs.size()] = times_[layer]->own->last_finish;
        for (std::size_t i = pairs.size(); i-- > 0;) result->left[i] = largest = std::max(largest, pairs[i].second);
        for (const auto &pair : pairs) result->needed.push_back(pair.first);
        return result;
    }

    std::shared_ptr<const Network> network_;
    Vector<TimesPointer> times_;
    Vector<std::shared_ptr<const Tail>> tails_;
};

}  // namespace core
