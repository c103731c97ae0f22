/*
 * How an edit reaches the hub over a network that loses, repeats and delays, to a hub that dies and is restored.
 *
 * One device makes edits 1..N and pushes those without a verdict, all or the first alone. The hub's counter, its
 * effects and its verdicts are one transaction. Backups are taken at any time, the two newest are offered, and either
 * may be restored; a new epoch begins then. The device forgets an edit only when the oldest backup offered has it.
 *
 * Sets of edits are bit masks: edit n is bit n - 1. What is broken on purpose by a -D is refuted by the tests:
 *   COUNTER_OUTSIDE    the counter is not in the transaction of the effect
 *   ANSWER_FIRST       the answer goes out before the commit
 *   TRIM_WHEN_ANSWERED the device forgets an edit when it has the verdict
 *   NEWEST_BACKUP      the device forgets what the newest backup has
 *   ONE_EPOCH          a push is taken whatever epoch it names
 *   NO_RECALL          the device does not send again what a restored hub has lost
 */

#ifndef N
#define N 3
#endif
#ifndef FAULTS
#define FAULTS 2    /* messages lost or repeated, deaths of the hub, impatience of the device */
#endif
#ifndef BACKUPS
#define BACKUPS 2
#endif
#ifndef RESTORES
#define RESTORES 2
#endif

#define ALL ((1 << N) - 1)
#define BIT(n) (1 << ((n) - 1))
#define UP_TO(n) ((1 << (n)) - 1)

mtype = { settled, epoch_changed };
chan push = [1] of { byte, byte };                        /* epoch, edits */
chan answer = [1] of { mtype, byte, byte, byte };         /* verdicts, durable, expected; or epoch, applied, - */

byte faults = FAULTS;

/* The hub's store, and its backups: how many edits each contains. */
byte applied, epoch = 1;
byte effect[N + 1];
byte oldest, newest;
bool busy;

/* The device's file. */
byte made;          /* edits so far */
byte got;           /* those with a verdict */
byte trimmed;       /* forgotten up to here */
byte epoch_known = 1;

#ifdef NEWEST_BACKUP
#define DURABLE newest
#else
#define DURABLE oldest
#endif

inline say(kind, one, two, three) {
  if
  :: full(answer) -> skip
  :: nfull(answer) -> answer ! kind, one, two, three
  fi
}

/* Judge a push in order; stop at the first gap. */
inline judge(edits) {
  n = 1; verdicts = 0; expected = 0;
  do
  :: n > N || expected -> break
  :: else ->
     if
     :: !(edits & BIT(n)) -> skip
     :: (edits & BIT(n)) && n <= applied -> verdicts = verdicts | BIT(n)
     :: (edits & BIT(n)) && n == applied + 1 ->
        effect[n]++;
#ifndef COUNTER_OUTSIDE
        applied = n;
#endif
        verdicts = verdicts | BIT(n);
#ifdef COUNTER_OUTSIDE
        break
#endif
     :: (edits & BIT(n)) && n > applied + 1 -> expected = applied + 1
     fi;
     n++
  od
}

active proctype Hub() {
  byte named, edits, n, verdicts, expected;

end:
  do
  :: atomic {
       push ? named, edits;
       if
#ifndef ONE_EPOCH
       :: named != epoch -> say(epoch_changed, epoch, applied, 0)
       :: named == epoch ->
#else
       :: true ->
#endif
          if
          :: faults > 0 -> faults--                       /* dies before the commit */
#ifdef ANSWER_FIRST
          :: faults > 0 -> faults--;                      /* dies between the answer and the commit */
             say(settled, edits, DURABLE, 0)
#endif
          :: true ->
             judge(edits);
#ifdef COUNTER_OUTSIDE
             busy = true
          fi
       fi
     };
     atomic {
       if
       :: busy && faults > 0 -> faults--                  /* dies between the effect and the counter */
       :: busy ->
          if
          :: verdicts & BIT(applied + 1) -> applied++
          :: else
          fi;
          say(settled, verdicts, DURABLE, expected)
       :: !busy
       fi;
       busy = false
     }
#else
             if
             :: faults > 0 -> faults--                    /* dies before the answer */
             :: true -> say(settled, verdicts, DURABLE, expected)
             fi
          fi
       fi;
       n = 0; verdicts = 0; expected = 0; named = 0; edits = 0
     }
#endif
  od
}

/* What the hub has above this number is lost there: it is unsent again, unless it was forgotten. */
inline recall(above) {
  assert(trimmed <= above);
#ifndef NO_RECALL
  got = got & UP_TO(above)
#endif
}

/* The number up to which every edit has its verdict. */
inline count_seen() {
  seen = 0;
  do
  :: seen < made && (got & BIT(seen + 1)) -> seen++
  :: else -> break
  od
}

active proctype Device() {
  mtype kind;
  byte one, two, three, seen, unsent;

end:
  do
  :: atomic {
       answer ? kind, one, two, three;
       if
       :: kind == settled ->
          got = got | one;
#ifdef TRIM_WHEN_ANSWERED
          count_seen();
          trimmed = seen;
#else
          if
          :: two > trimmed -> trimmed = two
          :: else
          fi;
#endif
          count_seen();
          if
          :: three && three <= seen -> recall(three - 1)
          :: else
          fi
       :: kind == epoch_changed ->
          epoch_known = one;
          recall(two)
       fi;
       kind = 0; one = 0; two = 0; three = 0; seen = 0
     }
  :: atomic {
       if
       :: empty(push) && empty(answer) && !busy
       :: empty(push) && (nempty(answer) || busy) && faults > 0 ->
          faults--                                        /* gives up waiting, though an answer might come */
       fi;
       unsent = UP_TO(made) & ~got;
       if
       :: push ! epoch_known, unsent
       :: unsent -> push ! epoch_known, unsent & -unsent  /* the first alone */
       fi;
       unsent = 0
     }
  od
}

active proctype Person() {
  do
  :: made < N -> made++
  :: else -> break
  od
}

active proctype Network() {
  byte named, edits;

  do
  :: atomic { faults > 0 && nempty(push) -> push ? named, edits; faults--; named = 0; edits = 0 }
  :: atomic { faults > 0 && nempty(answer) -> answer ? _, _, _, _; faults-- }
  :: atomic {                                             /* an old push comes once more, later */
       faults > 0 && nempty(push) && !edits -> push ? <named, edits>; faults-- }
  :: atomic { edits && nfull(push) -> push ! named, edits; named = 0; edits = 0 }
  :: !edits && faults == 0 -> break
  od
}

active proctype Keeper() {
  byte backups = BACKUPS, restores = RESTORES, n;

  do
  :: atomic { backups > 0 -> oldest = newest; newest = applied; backups-- }
  :: atomic {
       restores > 0 && !busy ->
       if
       :: applied = newest
       :: applied = oldest; newest = oldest
       fi;
       n = applied + 1;
       do
       :: n <= N -> effect[n] = 0; n++
       :: else -> break
       od;
       n = 0; epoch++; restores--
     }
  :: break
  od
}

/* Each edit has at most one effect. */
ltl once { [] (effect[1] <= 1 && effect[2] <= 1 && effect[3] <= 1) }

/* What the device has forgotten, the hub has, whatever backup was restored. */
ltl kept { [] (trimmed <= applied) }

/* In the end every edit has its verdict, and its effect. */
ltl answered { <> [] (got == ALL && applied == N) }
