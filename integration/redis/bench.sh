#!/bin/bash
# Measures kvd and redis-server side by side with redis-benchmark and prints a table:
#
#	bench.sh KVD [ROUNDS]
#
# The two take turns, each figure is the median of the rounds. CPU is what all threads of
# the server have run, by operation, from /proc.
set -euo pipefail
kvd=$1 rounds=${2:-3}
dir=$(mktemp -d)
declare -A port=([kvd]=7901 [redis]=7902) pid
trap 'kill ${pid[*]} 2>/dev/null || true; wait; rm -rf "$dir"' EXIT

begin() { # fsync
	"$kvd" serve --dir "$dir/kvd-$1" --listen "127.0.0.1:${port[kvd]}" --admin "" --memory 1GiB \
		--appendfsync "$1" 2>"$dir/kvd.log" &
	pid[kvd]=$!
	mkdir "$dir/redis-$1"
	redis-server --port "${port[redis]}" --dir "$dir/redis-$1" --save "" --appendonly yes \
		--appendfsync "$1" --loglevel warning >"$dir/redis.log" &
	pid[redis]=$!
	for s in kvd redis; do
		until redis-cli -p "${port[$s]}" ping &>/dev/null; do sleep 0.1; done
	done
}

ran() { cat "/proc/$1/task/"*/schedstat | awk '{ ns += $1 } END { printf "%.0f\n", ns }'; }

# operations is a number that takes a moment.
operations() { # fsync pipeline clients test
	local n=$((4000 * $2))
	[[ $2 == 1 ]] && n=20000
	[[ $3 == 1 ]] && n=$((6000 * $2))
	[[ $1$3 == always1 && $4 == set ]] && n=$((1500 * $2)) # each batch waits for the disk
	echo $n
}

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

echo "| appendfsync | -P | -c | test | kvd, per second | redis | kvd, CPU us/op | redis |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
for fsync in everysec always; do
	begin "$fsync"
	for p in 1 16 64; do
		for c in 1 50 500; do
			for test in set get; do
				n=$(operations "$fsync" $p $c $test)
				for ((r = 0; r < rounds; r++)); do
					for s in kvd redis; do
						before=$(ran "${pid[$s]}")
						redis-benchmark -p "${port[$s]}" -t $test -n "$n" -P $p -c $c -r 100000 -d 64 --csv |
							awk -F'"' 'END { print $4 }' >>"$dir/$s.rps"
						awk -v a="$before" -v b="$(ran "${pid[$s]}")" -v n="$n" \
							'BEGIN { printf "%.2f\n", (b - a) / 1000 / n }' >>"$dir/$s.cpu"
					done
				done
				printf '| %s | %d | %d | %s | %.0f | %.0f | %s | %s |\n' $fsync $p $c ${test^^} \
					"$(median <"$dir/kvd.rps")" "$(median <"$dir/redis.rps")" \
					"$(median <"$dir/kvd.cpu")" "$(median <"$dir/redis.cpu")"
				rm "$dir"/*.rps "$dir"/*.cpu
			done
		done
	done
	kill "${pid[kvd]}" "${pid[redis]}"
	wait "${pid[kvd]}" "${pid[redis]}" || true
done
