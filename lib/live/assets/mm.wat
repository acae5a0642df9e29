;; The one hot loop of the model: c = a * b for row-major float32 matrices a (n, k), b (k, m), c (n, m).
;; A tile of 4 rows and 8 columns of c stays in eight SIMD registers while p walks along k, so each
;; number that is loaded is used at least four times.  n must be a multiple of 4 and m of 8; pointers are in bytes.
(module
  (import "js" "memory" (memory 1))
  (func (export "mm")
    (param $a i32) (param $b i32) (param $c i32) (param $n i32) (param $k i32) (param $m i32)
    (local $i i32) (local $j i32) (local $p i32)          ;; row, column, and the index that is summed over
    (local $pa i32) (local $pb i32) (local $pc i32)       ;; where they stand in memory
    (local $ak i32) (local $bm i32)                       ;; bytes of a row of a; of a row of b and c
    (local $c0 v128) (local $c1 v128) (local $c2 v128) (local $c3 v128)  ;; the tile's left four columns
    (local $d0 v128) (local $d1 v128) (local $d2 v128) (local $d3 v128)  ;; its right four columns
    (local $x v128) (local $y v128) (local $z v128)
    (local.set $ak (i32.shl (local.get $k) (i32.const 2)))
    (local.set $bm (i32.shl (local.get $m) (i32.const 2)))
    (loop $rows
      (local.set $j (i32.const 0))
      (loop $columns
        (local.set $c0 (v128.const i32x4 0 0 0 0))
        (local.set $c1 (local.get $c0)) (local.set $c2 (local.get $c0)) (local.set $c3 (local.get $c0))
        (local.set $d0 (local.get $c0)) (local.set $d1 (local.get $c0))
        (local.set $d2 (local.get $c0)) (local.set $d3 (local.get $c0))
        (local.set $pa (i32.add (local.get $a) (i32.mul (local.get $i) (local.get $ak))))
        (local.set $pb (i32.add (local.get $b) (i32.shl (local.get $j) (i32.const 2))))
        (local.set $p (i32.const 0))
        (loop $sum
          (local.set $x (v128.load (local.get $pb)))
          (local.set $y (v128.load offset=16 (local.get $pb)))
          ;; z: one number of a, four times; row after row
          (local.set $z (v128.load32_splat (local.get $pa)))
          (local.set $c0 (f32x4.add (local.get $c0) (f32x4.mul (local.get $z) (local.get $x))))
          (local.set $d0 (f32x4.add (local.get $d0) (f32x4.mul (local.get $z) (local.get $y))))
          (local.set $z (v128.load32_splat (i32.add (local.get $pa) (local.get $ak))))
          (local.set $c1 (f32x4.add (local.get $c1) (f32x4.mul (local.get $z) (local.get $x))))
          (local.set $d1 (f32x4.add (local.get $d1) (f32x4.mul (local.get $z) (local.get $y))))
          (local.set $z (v128.load32_splat (i32.add (local.get $pa) (i32.shl (local.get $ak) (i32.const 1)))))
          (local.set $c2 (f32x4.add (local.get $c2) (f32x4.mul (local.get $z) (local.get $x))))
          (local.set $d2 (f32x4.add (local.get $d2) (f32x4.mul (local.get $z) (local.get $y))))
          (local.set $z (v128.load32_splat (i32.add (local.get $pa) (i32.mul (local.get $ak) (i32.const 3)))))
          (local.set $c3 (f32x4.add (local.get $c3) (f32x4.mul (local.get $z) (local.get $x))))
          (local.set $d3 (f32x4.add (local.get $d3) (f32x4.mul (local.get $z) (local.get $y))))
          (local.set $pa (i32.add (local.get $pa) (i32.const 4)))
          (local.set $pb (i32.add (local.get $pb) (local.get $bm)))
          (local.set $p (i32.add (local.get $p) (i32.const 1)))
          (br_if $sum (i32.lt_u (local.get $p) (local.get $k))))
        (local.set $pc (i32.add (local.get $c)
          (i32.add (i32.mul (local.get $i) (local.get $bm)) (i32.shl (local.get $j) (i32.const 2)))))
        (v128.store (local.get $pc) (local.get $c0)) (v128.store offset=16 (local.get $pc) (local.get $d0))
        (local.set $pc (i32.add (local.get $pc) (local.get $bm)))
        (v128.store (local.get $pc) (local.get $c1)) (v128.store offset=16 (local.get $pc) (local.get $d1))
        (local.set $pc (i32.add (local.get $pc) (local.get $bm)))
        (v128.store (local.get $pc) (local.get $c2)) (v128.store offset=16 (local.get $pc) (local.get $d2))
        (local.set $pc (i32.add (local.get $pc) (local.get $bm)))
        (v128.store (local.get $pc) (local.get $c3)) (v128.store offset=16 (local.get $pc) (local.get $d3))
        (local.set $j (i32.add (local.get $j) (i32.const 8)))
        (br_if $columns (i32.lt_u (local.get $j) (local.get $m))))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $rows (i32.lt_u (local.get $i) (local.get $n))))))
